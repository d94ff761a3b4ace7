#!/usr/bin/env bash
# Formats the C++ sources with clang-format 14, as .clang-format says.
# usage: scripts/format.sh [--check]      --check: changes nothing, names the files that differ, exit code 1 if any
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

main() {
  cd "$ROOT"
  local arguments=(-i)
  case ${1:-} in
    "") ;;
    --check) arguments=(--dry-run --Werror) ;;
    *) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" && return ;;
  esac
  say "clang-format"
  install_packages clang-format
  sources | xargs -0 --max-procs="$(processors)" --max-args=20 --no-run-if-empty clang-format "${arguments[@]}"
  say "      $(sources | tr -cd '\0' | wc -c) files: done"
}

# The C++ files of the project, also those that git does not know yet.
sources() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cu' |
      while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done
  else
    find include src command_line jobs data_prep perf tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \) -print0
  fi
}

main "$@"
