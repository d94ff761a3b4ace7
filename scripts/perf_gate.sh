#!/usr/bin/env bash
# Fails when a part of Cohort has become slower than its peers and limits allow: ratios measured in turns in one run, never absolute times, against
# perf/baseline.json. Takes 16 to 26 s on 2 processors, and some seconds more for each ratio that is measured again.
# usage: scripts/perf_gate.sh            measures the build in build/release (or $COHORT_PRESET)
#   scripts/perf_gate.sh --record [N]    measures N times (20) and writes the baseline of machines like this one
# Exit code 1: a ratio was below what the baseline allows, in three attempts, twice. A machine of a kind that the baseline does not have passes,
# and so does one that other programs keep busy: nothing is judged there.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

RANKS=2

main() {
  local program="$ROOT/build/${COHORT_PRESET:-release}/bin/cohort-perf"
  case ${1:-} in
    -h | --help) sed -n '2,8s/^# //p' "${BASH_SOURCE[0]}" && return ;;
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
    judge "$program"
  fi
}

gate() { mpirun -n "$RANKS" "$1" gate perf/baseline.json --dir "$STAGING" --seconds 2 --attempts 3 </dev/null; }

judge() {
  local status=0
  gate "$1" || status=$?
  [ "$status" -eq 1 ] || return "$status"
  if is_busy; then
    warn "perf_gate.sh: other programs keep this machine busy: nothing is judged"
    return 0
  fi
  say "once more"
  gate "$1"
}

# Whether other programs want half of the processors or more: mean of ten looks at what can run now, this script left out.
is_busy() {
  local sum=0 running
  for ((i = 0; i < 10; ++i)); do
    read -r _ _ _ running _ </proc/loadavg
    sum=$((sum + ${running%%/*} - 1))
    sleep 0.2
  done
  [ "$sum" -ge $((5 * $(processors))) ]
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
