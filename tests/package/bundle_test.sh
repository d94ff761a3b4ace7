#!/usr/bin/env bash
# A bundle has all that it needs besides PyTorch and the C library, and trains on two ranks. usage: bundle_test.sh PRESET LIBTORCH
source "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
preset=$1 libtorch=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$ROOT/scripts/bundle.sh" --preset "$preset" --out "$work"
tar -xf "$work"/cohort-*.tar.xz -C "$work"
bundle=$(echo "$work"/cohort-*/)
bundle=${bundle%/}
export COHORT_LIBTORCH=$libtorch

# As on a node without anything else: nothing of this shell's environment but what Open MPI wants of root in a test.
bare() {
  env -i PATH=/usr/bin:/bin HOME="$work" COHORT_LIBTORCH="$COHORT_LIBTORCH" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_NUM_THREADS=1 "$@"
}

check() { "${@:2}" || fail 1 "$1" "see the lines above"; }
missing() { ! grep -n 'not found'; }
outside() { ! grep -E '=> /(usr/)?lib' | grep -vE '/(ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libutil|libresolv)\.so'; }

libraries=$(source "$bundle/libexec/environment.sh" && for file in "$bundle"/libexec/cohort* "$bundle"/lib/*.so* "$bundle"/lib/openmpi/*.so; do
  ldd "$file"
done)
check "a library is missing" missing <<<"$libraries"
check "a library comes from this machine" outside <<<"$libraries"
for file in "$bundle"/libexec/cohort* "$bundle"/lib/libcohort*.so*; do
  check "$file looks for libraries outside of the bundle" test "$(patchelf --print-rpath "$file" | grep -c '^/')" = 0
done

cd "$work"
check "cohort-data does not start" bare "$bundle/bin/cohort-data" synth --out set --contexts 4 --images-per-context 16 --size 16 --channels 1
check "recipes are not found" grep -q '^small/dino ' <<<"$(bare "$bundle/bin/cohort" configs)"
check "training fails" bare "$bundle/bin/mpirun" -n 2 "$bundle/bin/cohort" train tests/nuclei \
  data.path="$ROOT/tests/data/nuclei" run_dir=run train.max_steps=2
check "no weights were written" test -s run/weights.safetensors

status=0
COHORT_LIBTORCH=$work bare "$bundle/bin/cohort" --version 2>error.txt || status=$?
check "a missing PyTorch gives exit code $status, not 2" test "$status" = 2
check "a missing PyTorch is not named" grep -q 'no PyTorch was found in' error.txt
mkdir -p other/lib && touch other/lib/libtorch_cpu.so && echo "__version__ = '2.10.0+cpu'" >other/version.py
COHORT_LIBTORCH=$work/other bare "$bundle/bin/cohort" --version 2>error.txt && fail 1 "another PyTorch was accepted" "see libexec/environment.sh"
check "the version of PyTorch is not named" grep -q 'is version 2.10.0, this bundle needs' error.txt
