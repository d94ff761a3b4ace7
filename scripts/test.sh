#!/usr/bin/env bash
# Sets up what is missing, builds everything and runs all tests.
# usage: scripts/test.sh [ctest arguments]      for example: scripts/test.sh -R comm_mpi_test
#   COHORT_PRESET=asan scripts/test.sh          with another preset of CMakePresets.json
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

main() {
  if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    return
  fi
  local preset=${COHORT_PRESET:-release}
  begin 3
  step "set-up"
  "$ROOT/scripts/bootstrap.sh" --python | sed -u 's/^/      /'
  step "build in build/$preset (6 minutes on 2 processors from nothing)"
  configure "$preset" COHORT_TESTS=ON
  build "$preset"
  step "tests"
  ctest --test-dir "$ROOT/build/$preset" --parallel "$(processors)" --output-on-failure "$@" </dev/null
}

main "$@"
