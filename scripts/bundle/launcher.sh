#!/usr/bin/env bash
# Starts the program of this name with the libraries of the bundle and of the node's PyTorch.
set -euo pipefail
bundle=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
source "$bundle/libexec/environment.sh"
program=$(basename -- "$0")
if [ "$program" = mpirun ] || [ "$program" = orterun ]; then
  # Other hosts start orted through its launcher in the same place.
  set -- --prefix "$bundle" -x COHORT_LIBTORCH "$@"
fi
exec "$bundle/libexec/$program" "$@"
