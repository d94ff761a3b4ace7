#!/usr/bin/env bash
# Puts small faults into the code, one at a time, and says which of them the tests notice. By hand: not part of any other check.
# usage: scripts/mutants.sh [NAME…]       NAME: a file of tests/mutants, without its ending; none: all of them
#   scripts/mutants.sh --check            only whether each of them still fits the code
# Works on the last commit, in build/mutants/tree. Exit code 1 when one is not noticed, or does not fit any more.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

MUTANTS=$ROOT/tests/mutants TREE=$ROOT/build/mutants/tree
export COHORT_DEPS=$DEPS

main() {
  local names=() name missed=()
  case ${1:-} in
    -h | --help) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}" && return ;;
    --check) check && return || exit 1 ;;
    -*) fail 2 "unknown option '$1'" "see scripts/mutants.sh --help" ;;
  esac
  names=("$@")
  [ $# -gt 0 ] || mapfile -t names < <(basename -s .txt "$MUTANTS"/*.txt)
  for name in "${names[@]}"; do
    [ -f "$MUTANTS/$name.txt" ] || fail 2 "there is no fault '$name'" "use the name of a file in tests/mutants"
  done
  begin 3
  step "the last commit in build/mutants/tree"
  fresh_tree
  step "the tests without any fault"
  prepare_tests "${names[@]}"
  step "${#names[@]} faults"
  for name in "${names[@]}"; do
    notices "$name" || missed+=("$name")
  done
  say "$((${#names[@]} - ${#missed[@]})) of ${#names[@]} noticed"
  [ ${#missed[@]} -eq 0 ] || fail 1 "not noticed: ${missed[*]}" "write the test that would, or take away the code that nothing needs"
}

# header NAME KEY: the value of a line "KEY: value" of a fault.
header() { sed -n "s/^$2: //p" "$MUTANTS/$1.txt"; }

# part NAME MARK: the lines of a fault behind the line MARK, up to the next mark.
part() { sed -n "/^$2\$/,/^[<=>]\{4\}\$/{/^[<=>]\{4\}\$/d;p}" "$MUTANTS/$1.txt"; }

# The file of a fault with the old text replaced, on stdout; fails unless that is there exactly once.
mutated() {
  local content old new rest
  content=$(cat "$1/$(header "$2" file)" && printf x) old=$(part "$2" '<<<<') new=$(part "$2" '====')
  rest=${content#*"$old"}
  [ -n "$old" ] && [ "$rest" != "$content" ] && [[ $rest != *"$old"* ]] || return 1
  content=${content%%"$old"*}$new$rest
  printf '%s' "${content%x}"
}

check() {
  local file name status=0
  for file in "$MUTANTS"/*.txt; do
    name=$(basename -s .txt "$file")
    mutated "$ROOT" "$name" >/dev/null 2>&1 && continue
    warn "$name: its old text is not there exactly once in $(header "$name" file)"
    status=1
  done
  return $status
}

fresh_tree() {
  local commit
  commit=$(git -C "$ROOT" rev-parse HEAD)
  git -C "$ROOT" worktree prune
  [ -d "$TREE" ] || quietly git -C "$ROOT" worktree add --detach "$TREE" "$commit"
  quietly git -C "$TREE" reset --hard
  quietly git -C "$TREE" checkout --detach "$commit"
}

# The ctest name of a fault's test, and the program that it runs.
test_of() { header "$1" test | cut -d' ' -f1; }
program_of() { test_of "$1" | sed 's/\.np[0-9]*$//'; }

# run_test NAME: whether its test passes.
run_test() {
  GTEST_COLOR=no GTEST_FILTER=$(header "$1" test | cut -d' ' -f2) ctest --test-dir "$TREE/build/release" -V -R "^$(test_of "$1")\$" \
    --no-tests=error </dev/null >"$TREE/../$1.log" 2>&1
}

# Without a fault each test passes, and is there.
prepare_tests() {
  local name programs
  mapfile -t programs < <(for name in "$@"; do program_of "$name"; done | sort -u)
  (
    ROOT=$TREE
    configure release COHORT_TESTS=ON
    quietly build release "${programs[@]}"
  )
  for name in "$@"; do
    run_test "$name" && grep -q '\[  PASSED  \] [1-9]' "$TREE/../$name.log" && continue
    fail 1 "'$(header "$name" test)' does not pass without the fault '$name'" "see build/mutants/$name.log"
  done
}

# notices NAME: whether its test fails with the fault. Says so, and takes the fault out again.
notices() {
  local file verdict=noticed
  file=$TREE/$(header "$1" file)
  if ! mutated "$TREE" "$1" >"$TREE/../mutated"; then
    say "      $1: does not fit the code any more"
    return 1
  fi
  cat "$TREE/../mutated" >"$file"
  if ! (ROOT=$TREE && build release "$(program_of "$1")") >"$TREE/../$1.log" 2>&1; then
    verdict="does not compile (build/mutants/$1.log)"
  elif run_test "$1"; then
    verdict="NOT noticed by $(header "$1" test)"
  fi
  quietly git -C "$TREE" checkout -- .
  say "      $1: $verdict"
  [ "$verdict" = noticed ]
}

main "$@"
