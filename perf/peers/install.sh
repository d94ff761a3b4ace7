#!/usr/bin/env bash
# Installs what the comparisons with other programs need into the Python environment of scripts/bootstrap.sh --python.
# usage: perf/peers/install.sh          runs again in a second when all of it is there
source "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

main() {
  case ${1:-} in
    -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" && return ;;
    ?*) fail 2 "unknown option '$1'" "see perf/peers/install.sh --help" ;;
  esac
  "$ROOT/scripts/bootstrap.sh" --python --samples
  quietly "$DEPS/python/bin/python" -m pip install --requirement "$ROOT/scripts/requirements/peers.txt" ||
    fail 3 "the packages of scripts/requirements/peers.txt could not be installed" "check the network and the settings of pip, then run this again"
}

main "$@"
