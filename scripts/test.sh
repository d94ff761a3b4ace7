#!/usr/bin/env bash
# Sets up what is missing, builds everything and runs all tests.
# usage: scripts/test.sh [ctest arguments]      for example: scripts/test.sh -R comm_mpi_test
#   scripts/test.sh --sanitize                  address and undefined-behaviour sanitizers over the tests of what reads files
#   COHORT_PRESET=asan scripts/test.sh          with another preset of CMakePresets.json
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# One process each, of the layers that read what others wrote: cheap to build and to run with sanitizers.
SANITIZED=(core_test config_test data_test data_prep_test checkpoint_test report_test)

main() {
  case ${1:-} in
    -h | --help) sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}" && return ;;
    --sanitize) sanitize; return ;;
  esac
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

sanitize() {
  begin 3
  step "set-up"
  "$ROOT/scripts/bootstrap.sh" | sed -u 's/^/      /'
  step "build ${#SANITIZED[@]} tests in build/asan"
  configure asan COHORT_TESTS=ON
  build asan "${SANITIZED[@]}"
  step "tests"
  local IFS='|'
  ctest --test-dir "$ROOT/build/asan" --parallel "$(processors)" --output-on-failure -R "^(${SANITIZED[*]})\$" </dev/null
}

main "$@"
