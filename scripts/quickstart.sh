#!/usr/bin/env bash
# From nothing to a trained model: set-up, build, real photos as a sharded dataset, a ContextViT and a plain ViT of the same
# size trained on 2 ranks, and what they score on modules they have seen and on modules they have not.
# usage: scripts/quickstart.sh      (run it again at any time: what is finished is not repeated)
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
RANKS=2
MODELS=(contextvit vit)

main() {
  if [ $# -gt 0 ]; then
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
    return
  fi
  cd "$ROOT"
  prepare_mpi "$RANKS"
  begin 6
  step "set-up"
  scripts/bootstrap.sh --data | sed -u 's/^/      /'
  step "build in build/release (4 to 6 minutes on 2 processors from nothing)"
  [ -f build/release/build.ninja ] || configure release COHORT_TESTS=OFF
  build release cohort cohort-data
  step "photos -> sharded HDF5 in data/elpv/dataset"
  convert
  for model in "${MODELS[@]}"; do
    step "training $model on $RANKS ranks: runs/quickstart-$model"
    on_ranks build/release/bin/cohort train "configs/quickstart/$model.yaml"
  done
  step "results"
  build/release/bin/cohort report "${MODELS[@]/#/runs/quickstart-}" --out runs/quickstart.html --overwrite
}

convert() {
  if [ -f data/elpv/dataset/dataset.json ]; then
    say "      there"
    return
  fi
  on_ranks build/release/bin/cohort-data convert elpv data/elpv/source --out data/elpv/dataset
}

# Exit codes of our programs pass through mpirun (docs/errors.md); 137 means that a rank was killed.
on_ranks() {
  local status=0
  mpirun -n "$RANKS" "$@" </dev/null || status=$?
  if [ "$status" -eq 137 ]; then
    fail 5 "a rank was killed from outside" "most often the machine ran out of memory: free some, then run this again"
  fi
  return "$status"
}

main "$@"
