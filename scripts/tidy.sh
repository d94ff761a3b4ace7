#!/usr/bin/env bash
# Static analysis with clang-tidy 16, as .clang-tidy says.
# usage: scripts/tidy.sh [FILE…]      without files: the layers core, config, comm and data; some 5 minutes on 2 processors
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
BUILD=build/tidy

main() {
  cd "$ROOT"
  case ${1:-} in -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" && return ;; esac
  say "clang-tidy"
  install_packages clang-tidy-16
  # A build folder of its own, never built: GCC's precompiled headers and flags mean nothing to clang.
  quietly cmake --preset release -B "$BUILD" -DCMAKE_UNITY_BUILD=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DCOHORT_CCACHE=OFF \
    -DCOHORT_PYTHON_TESTS=OFF
  if [ $# -eq 0 ]; then
    # Without CUDA there is no command line for nccl_transport.cpp.
    mapfile -t files < <(find src/{core,config,comm,data} -name '*.cpp' ! -name nccl_transport.cpp | sort)
  else
    files=("$@")
  fi
  printf '%s\0' "${files[@]}" | xargs -0 --max-procs="$(processors)" --max-args=1 clang-tidy-16 --quiet -p "$BUILD"
  say "      ${#files[@]} files: nothing found"
}

main "$@"
