#!/usr/bin/env bash
# Static analysis with clang-tidy 14, as .clang-tidy says.
# usage: scripts/tidy.sh [FILE…]      without files: every source of the project, some 20 minutes on 2 processors
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
BUILD=build/tidy

main() {
  cd "$ROOT"
  case ${1:-} in -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" && return ;; esac
  say "clang-tidy"
  install_packages clang-tidy
  # A build folder of its own, never built: GCC's precompiled headers and flags mean nothing to clang.
  quietly cmake --preset release -B "$BUILD" -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DCOHORT_CCACHE=OFF \
    -DCOHORT_PYTHON_TESTS=OFF
  if [ $# -eq 0 ]; then
    mapfile -t files < <(find src jobs data_prep perf -name '*.cpp' -size +0 | sort)
  else
    files=("$@")
  fi
  printf '%s\0' "${files[@]}" | xargs -0 --max-procs="$(processors)" --max-args=1 clang-tidy --quiet -p "$BUILD"
  say "      ${#files[@]} files: nothing found"
}

main "$@"
