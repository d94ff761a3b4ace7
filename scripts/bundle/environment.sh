# Sourced by the launchers of a bundle, with $bundle set: where the libraries are.

# The folder of the node's PyTorch, without importing it.
find_pytorch() {
  local python
  for python in python3 python; do
    command -v "$python" >/dev/null || continue
    "$python" -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")' 2>/dev/null && return
  done
}

stop() {
  printf '%s: %s\n  fix: %s\n' "$(basename -- "$0")" "$1" "$2" >&2
  exit 2
}

COHORT_LIBTORCH=${COHORT_LIBTORCH:-$(find_pytorch)}
wanted=$(<"$bundle/libexec/pytorch-version")
if [ ! -e "$COHORT_LIBTORCH/lib/libtorch_cpu.so" ]; then
  stop "no PyTorch was found${COHORT_LIBTORCH:+ in $COHORT_LIBTORCH}" \
    "load a module or environment with PyTorch $wanted, or set COHORT_LIBTORCH to its folder (…/site-packages/torch)"
fi
if [ -e "$COHORT_LIBTORCH/version.py" ]; then
  found=$(sed -n "s/^__version__ = '\([^+']*\).*/\1/p" "$COHORT_LIBTORCH/version.py")
  if [ "$found" != "$wanted" ]; then
    stop "PyTorch in $COHORT_LIBTORCH is version $found, this bundle needs $wanted" "load PyTorch $wanted, or pack a bundle with that version"
  fi
fi
export COHORT_LIBTORCH
# CUDA's libraries lie beside PyTorch: site-packages/nvidia/*/lib.
libraries=$COHORT_LIBTORCH/lib:$bundle/lib
for folder in "$COHORT_LIBTORCH"/../nvidia/*/lib; do
  if [ -d "$folder" ]; then libraries=$libraries:$folder; fi
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# Open MPI and PMIx look for plugins and texts where they were installed, unless told otherwise.
export OPAL_PREFIX=$bundle OPAL_LIBDIR=$bundle/lib OPAL_PKGLIBDIR=$bundle/lib/openmpi OPAL_BINDIR=$bundle/bin \
  OPAL_DATADIR=$bundle/share OPAL_PKGDATADIR=$bundle/share/openmpi OPAL_SYSCONFDIR=$bundle/share
export PMIX_INSTALL_PREFIX=$bundle PMIX_PKGLIBDIR=$bundle/lib/pmix PMIX_LIBDIR=$bundle/lib
# Without any way to other hosts, Open MPI refuses to start ranks on this one.
command -v ssh >/dev/null || export OMPI_MCA_plm_rsh_agent=${OMPI_MCA_plm_rsh_agent:-false}
