#!/usr/bin/env bash
# Packs the programs of a build with the libraries that they need, for nodes without a network, packages or compiler.
# usage: scripts/bundle.sh [--preset release|cuda] [--out FOLDER]
#   --preset  the build to pack, made before (cmake --build --preset …); default: release
#   --out     where cohort-<version>-<preset>.tar.xz goes; default: build/bundle
# Not inside: LibTorch, which comes from a PyTorch of the same version on the node; the driver and libraries of CUDA, which come with
# that PyTorch; the C library. docs/install.md, "Nodes without a network". Exit code 3: the bundle is larger than 64 MB.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS=(cohort cohort-data cohort-perf)
LIMIT=64000000  # bytes of the archive
# Programs share much of their code and line tables: the dictionary reaches from one to the next, blocks keep two cores at work.
COMPRESS='xz -T0 --block-size=67MiB --x86 --lzma2=preset=6,dict=64MiB'
# Of the C library, which fits the kernel and the loader of the node, not of the machine that built this.
C_LIBRARY='^(ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libutil|libresolv|libnss_.*|libanl)\.so'

main() {
  local preset=release out=$ROOT/build/bundle
  while [ $# -gt 0 ]; do
    case $1 in
      --preset) preset=${2-} && shift ;;
      --out) out=${2-} && shift ;;
      -h | --help) sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}" && return ;;
      *) fail 2 "unknown option '$1'" "see scripts/bundle.sh --help" ;;
    esac
    shift
  done
  local build=$ROOT/build/$preset
  [ -x "$build/bin/cohort" ] || fail 2 "there is no build in $build" "run cmake --preset $preset && cmake --build --preset $preset"
  install_packages dwz patchelf xz-utils
  begin 4
  local about version name
  about=$("$build/bin/cohort" --version)  # cohort 0.1.0 (commit …), and a line for each library
  version=$(head -n 1 <<<"$about" | cut -d' ' -f2)
  name=cohort-$version-$preset
  STAGING=$(mktemp -d "${TMPDIR:-/tmp}/cohort-bundle.XXXXXX")
  trap 'rm -rf "$STAGING"' EXIT
  local bundle=$STAGING/$name
  mkdir -p "$bundle"/{bin,libexec,lib/openmpi,lib/pmix,share}
  step "programs of $build"
  copy_programs "$build" "$bundle"
  step "Open MPI with its plugins"
  copy_mpi "$bundle"
  step "libraries"
  copy_libraries "$build" "$bundle"
  copy_texts "$bundle" "$version" "$(sed -n 's/^LibTorch *\([0-9.]*\).*/\1/p' <<<"$about")"
  step "archive"
  mkdir -p "$out"
  tar -C "$STAGING" --owner=0 --group=0 --sort=name -I "$COMPRESS" -cf "$out/$name.tar.xz" "$name"
  local bytes
  bytes=$(stat -c %s "$out/$name.tar.xz")
  say "      $out/$name.tar.xz: $((bytes / 1000000)) MB"
  [ "$bytes" -le "$LIMIT" ] || fail 3 "the bundle is larger than $((LIMIT / 1000000)) MB" "see what is large: tar -tvf $out/$name.tar.xz | sort -k3n"
}

# install_file FROM TO FOLDER: a copy that looks for libraries in FOLDER alone.
install_file() {
  cp -L -- "$1" "$2"
  chmod u+w "$2"
  [[ $(basename "$2") == *cohort* ]] || strip --strip-unneeded "$2"
  # shellcheck disable=SC2016  # the loader expands it
  patchelf --set-rpath "$3" "$2"
}

# join_debug_information BUNDLE: Cohort's own files keep their line tables, for crash reports, each entry once; what several of them have
# is in a file of its own.
join_debug_information() {
  dwz -m "$1/lib/cohort.debug" -M ../lib/cohort.debug "${PROGRAMS[@]/#/$1/libexec/}" "$1"/lib/libcohort*.so*
}

copy_programs() {
  local program
  for program in "${PROGRAMS[@]}"; do
    install_file "$1/bin/$program" "$2/libexec/$program" '$ORIGIN/../lib'
    cp "$ROOT/scripts/bundle/launcher.sh" "$2/bin/$program"
  done
  local library
  for library in src/libcohort jobs/libcohort_program; do
    install_file "$(readlink -f "$1/$library.so")" "$2/lib/$(soname "$1/$library.so")" '$ORIGIN'
  done
  join_debug_information "$2"
  cp "$ROOT/scripts/bundle/environment.sh" "$2/libexec/environment.sh"
  for program in "${PROGRAMS[@]}"; do "$1/bin/$program" docs share "$2/share"; done
}

copy_mpi() {
  local plugins pmix plugin
  plugins=$(ompi_info --parsable --path pkglibdir | sed 's/^path:pkglibdir://')
  for plugin in "$plugins"/*.so; do
    install_file "$plugin" "$1/lib/openmpi/$(basename "$plugin")" '$ORIGIN/..'
  done
  pmix=$(dirname "$(readlink -f "$(ldconfig -p | sed -n 's/.*libpmix\.so\.2 .* => //p' | head -1)")")
  for plugin in "$pmix"/pmix/*.so; do
    install_file "$plugin" "$1/lib/pmix/$(basename "$plugin")" '$ORIGIN/..'
  done
  cp -rL "$(ompi_info --parsable --path pkgdatadir | sed 's/^path:pkgdatadir://')" "$1/share/openmpi"
  local program
  for program in orterun orted; do
    install_file "$(readlink -f "$(command -v $program)")" "$1/libexec/$program" '$ORIGIN/../lib'
    cp "$ROOT/scripts/bundle/launcher.sh" "$1/bin/$program"
  done
  cp "$ROOT/scripts/bundle/launcher.sh" "$1/bin/mpirun"
  ln -s orterun "$1/libexec/mpirun"
}

soname() { patchelf --print-soname "$1"; }

# Everything that programs and plugins load, but for LibTorch, CUDA and the C library.
copy_libraries() {
  local build=$1 bundle=$2 file path name
  for file in "$build"/bin/cohort* "$bundle"/lib/openmpi/*.so "$bundle"/lib/pmix/*.so; do
    LD_LIBRARY_PATH=$build/src:$build/jobs ldd "$file" 2>/dev/null | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'
  done | sort -u | while read -r path; do
    name=$(basename "$path")
    case $path in */torch/lib/* | */libtorch/lib/* | */nvidia/* | */cuda*/*) continue ;; esac
    if [[ $name =~ $C_LIBRARY ]] || [[ $name == libcohort*.so* ]] || [[ $name == libnccl.so* ]]; then continue; fi
    [ -e "$bundle/lib/$name" ] || install_file "$path" "$bundle/lib/$name" '$ORIGIN'
  done
}

# copy_texts BUNDLE VERSION PYTORCH
copy_texts() {
  local glibc
  cp -r "$ROOT/configs" "$ROOT/slurm" "$ROOT/LICENSE" "$1/"
  mkdir "$1/share/cohort"
  ln -s ../../configs "$1/share/cohort/configs"  # where programs look for recipes
  say "$3" >"$1/libexec/pytorch-version"
  glibc=$(find "$1/libexec" "$1/lib" -type f -print0 | { xargs -0 objdump -T 2>/dev/null || true; } | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -1)
  sed -e "s/@VERSION@/$2/" -e "s/@PYTORCH@/$3/" -e "s/@GLIBC@/${glibc#GLIBC_}/" "$ROOT/scripts/bundle/README.txt" >"$1/README.txt"
}

main "$@"
