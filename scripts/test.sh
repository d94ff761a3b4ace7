#!/usr/bin/env bash
# Sets up what is missing, builds everything and runs all tests.
# usage: scripts/test.sh [ctest arguments]      for example: scripts/test.sh -R comm_mpi_test
#   scripts/test.sh --avx2 [ctest arguments]    tests of what computes, as on a processor without AVX-512
#   scripts/test.sh --sanitize                  address and undefined-behaviour sanitizers over the tests of what reads files
#   scripts/test.sh --cuda                      compiles and links the CUDA build and runs the tests of label gpu: skipped without a GPU
#   COHORT_PRESET=asan scripts/test.sh          with another preset of CMakePresets.json
# COHORT_TEST_RESULTS=FOLDER: ctest's results as JUnit files in FOLDER, one for each of the above.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# One process each, of the layers that read what others wrote: cheap to build and to run with sanitizers.
SANITIZED=(core_test config_test data_test data_prep_test checkpoint_test report_test)

GPU_TESTS=(gpu_kernels_test gpu_runs_test)

# Tests whose numbers come from kernels for CPUs.
COMPUTING='^(golden|nn|shard|method|methods|eval|train|invariance|sharding|dino|encoders|perf|features_commands|gpu_script)_'

# What a processor without AVX-512 has to offer: to our kernels, LibTorch's, oneDNN's and MKL's (docs/performance.md).
AVX2=(COHORT_CPU_CAPABILITY=avx2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2)

main() {
  local preset=${COHORT_PRESET:-release}
  case ${1:-} in
    -h | --help) sed -n '2,8s/^# //p' "${BASH_SOURCE[0]}" && return ;;
    --avx2)
      prepare "$preset"
      export "${AVX2[@]}"
      run_tests "$preset" avx2 -R "$COMPUTING" "${@:2}"
      ;;
    --sanitize) sanitize ;;
    --cuda) cuda ;;
    *)
      prepare "$preset"
      run_tests "$preset" all "$@"
      ;;
  esac
}

# prepare PRESET: everything that tests of it need.
prepare() {
  begin 3
  step "set-up"
  "$ROOT/scripts/bootstrap.sh" --python --samples | sed -u 's/^/      /'
  step "build in build/$1 (6 minutes on 2 processors from nothing)"
  configure "$1" COHORT_TESTS=ON
  build "$1"
  step "tests"
}

# run_tests PRESET NAME [ctest arguments]: NAME is that of the file of results.
run_tests() {
  local results=()
  [ -z "${COHORT_TEST_RESULTS:-}" ] || results=(--output-junit "$(realpath -m "$COHORT_TEST_RESULTS")/$2.xml")
  ctest --test-dir "$ROOT/build/$1" --parallel "$(processors)" --output-on-failure "${results[@]}" "${@:3}" </dev/null
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
  run_tests asan sanitize -R "^(${SANITIZED[*]})\$"
}

cuda() {
  begin 3
  step "set-up"
  "$ROOT/scripts/bootstrap.sh" --cuda | sed -u 's/^/      /'
  step "build programs and ${#GPU_TESTS[@]} tests in build/cuda"
  configure cuda COHORT_TESTS=ON
  build cuda cohort cohort-data cohort-perf "${GPU_TESTS[@]}"
  step "tests"
  run_tests cuda gpu -L '^gpu$'
}

main "$@"
