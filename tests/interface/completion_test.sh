#!/usr/bin/env bash
# What bash completes, by the script that `docs completion bash` prints. usage: completion_test.sh COHORT COHORT_DATA
set -euo pipefail
cd "$(mktemp -d)"
source <("$1" docs completion bash)
source <("$2" docs completion bash)

# complete_line FUNCTION WORD…: the completions of the last word.
complete_line() {
  local function=$1
  COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)) COMPREPLY=()
  "$function" 2>/dev/null
  echo " ${COMPREPLY[*]} "
}
compopt() { :; }  # it works only while a line is typed

expect() {
  local found
  found=$(complete_line "${@:2}")
  [[ $found == *" $1 "* ]] || { echo "'${*:3}' completes to$found, not to $1"; exit 1; }
}
refuse() {
  local found
  found=$(complete_line "${@:2}")
  [[ $found != *" $1 "* ]] || { echo "'${*:3}' completes to$found, with $1"; exit 1; }
}

trap 'rm -r "$PWD"' EXIT
touch x.yaml
expect train _cohort cohort tr
expect --split _cohort cohort eval --sp
expect inspect _cohort cohort checkpoint ins
expect x.yaml _cohort cohort train x.y
expect optimizer.lr= _cohort cohort train x.yaml optimizer.l
refuse optimizer.lr= _cohort cohort train optimizer.l
expect mlp _cohort cohort probe --kind m
refuse mlp _cohort cohort probe --lr m
expect wilds-fmow _cohort_data cohort-data convert wilds
expect skip _cohort_data cohort-data convert images photos --on-error s
