#!/usr/bin/env bash
# Sets up what is missing, builds everything and runs all tests.
# usage: scripts/test.sh [ctest arguments]      for example: scripts/test.sh -R comm_mpi_test
#   scripts/test.sh --sanitize                  address and undefined-behaviour sanitizers over the tests of what reads files
#   scripts/test.sh --cuda                      compiles and links the CUDA build and runs the tests of label gpu: skipped without a GPU
#   COHORT_PRESET=asan scripts/test.sh          with another preset of CMakePresets.json
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# One process each, of the layers that read what others wrote: cheap to build and to run with sanitizers.
SANITIZED=(core_test config_test data_test data_prep_test checkpoint_test report_test)

GPU_TESTS=(gpu_kernels_test gpu_runs_test)

main() {
  case ${1:-} in
    -h | --help) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}" && return ;;
    --sanitize) sanitize; return ;;
    --cuda) cuda; return ;;
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

cuda() {
  begin 3
  step "set-up"
  "$ROOT/scripts/bootstrap.sh" --cuda | sed -u 's/^/      /'
  step "build programs and ${#GPU_TESTS[@]} tests in build/cuda"
  configure cuda COHORT_TESTS=ON
  build cuda cohort cohort-data cohort-perf "${GPU_TESTS[@]}"
  step "tests"
  (cd "$ROOT" && ctest --preset cuda </dev/null)
}

main "$@"
