#!/usr/bin/env bash
# Fails when a part of Cohort has become slower than its peers and limits allow: ratios measured in turns in one run, never absolute times, against
# perf/baseline.json. Takes 25 s on 2 processors without other load, at most 90 s.
# usage: scripts/perf_gate.sh            measures the build in build/release (or $COHORT_PRESET)
#   scripts/perf_gate.sh --record [N]    measures N times (20) and writes the baseline of machines like this one
# Exit code 1: a ratio was below what the baseline allows in three attempts. A machine of a kind that the baseline does not have passes.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

RANKS=2

main() {
  local program="$ROOT/build/${COHORT_PRESET:-release}/bin/cohort-perf"
  case ${1:-} in
    -h | --help) sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}" && return ;;
    --record) ;;
    ?*) fail 2 "unknown option '$1'" "see scripts/perf_gate.sh --help" ;;
  esac
  if [ ! -x "$program" ]; then
    fail 2 "there is no $program" "build it: scripts/test.sh, or cmake --build --preset ${COHORT_PRESET:-release}"
  fi
  prepare_mpi "$RANKS"
  STAGING=$(mktemp -d)
  trap 'rm -rf "$STAGING"' EXIT
  cd "$ROOT"
  if [ "${1:-}" = --record ]; then
    record "$program" "${2:-20}"
  else
    mpirun -n "$RANKS" "$program" gate perf/baseline.json --dir "$STAGING" --seconds 2 --attempts 3 </dev/null
  fi
}

record() {
  echo '{}' >"$STAGING/nothing.json"
  for ((i = 1; i <= $2; ++i)); do
    say "measurement $i of $2"
    mpirun -n "$RANKS" "$1" gate "$STAGING/nothing.json" --dir "$STAGING" --seconds 2 --json </dev/null >>"$STAGING/runs.jsonl"
  done
  "$1" baseline "$STAGING/runs.jsonl" perf/baseline.json
}

main "$@"
