# Shared by the scripts of this folder: source it. Works with bash 5 and the tools of a bare Debian 12.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
DEPS=${COHORT_DEPS:-$ROOT/.deps}  # LibTorch and the Python environment; COHORT_DEPS shares one copy between checkouts

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# fail CODE WHAT FIX: the three-line form of every Cohort error.
fail() {
  warn "$(basename -- "$0"): $2"
  warn "  fix: $3"
  exit "$1"
}

# begin N opens a numbered list of N steps, step TEXT starts the next one.
begin() { STEP=0 STEPS=$1; }
step() { STEP=$((STEP + 1)); say "[$STEP/$STEPS] $*"; }

# Runs a command quietly; shows its output only when it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    cat "$log" >&2
    warn "  the command was: $*"
  fi
  rm -f "$log"
  return "$status"
}

# Processors that this process may use.
processors() { nproc; }

# Cores of this machine, each of which may be two processors; processors where lscpu cannot tell (no /sys).
cores() {
  local list
  list=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u) || list=$(seq "$(processors)")
  wc -l <<<"$list"
}

# Packages of the list that dpkg does not have installed.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Abbrev}${binary:Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *\([^:]*\).*/\1/p' || true)
  comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$installed")
}

# Whether sudo works here; it may ask for a password where somebody sits at a terminal.
may_use_sudo() { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ] && sudo -v; }; }

# install_packages NAME…: installs what is missing, as root or with sudo; else tells what to run.
# Exit code 2 when an administrator is needed.
install_packages() {
  local missing as_root=()
  if ! command -v dpkg-query >/dev/null; then
    say "      not a Debian system: the libraries come from modules or prefixes, see docs/install.md"
    return
  fi
  mapfile -t missing < <(missing_packages "$@")
  if [ "${#missing[@]}" -eq 0 ]; then
    say "      all $# there"
    return
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! may_use_sudo; then
      fail 2 "${#missing[@]} Debian packages are missing and this user may not install them" \
        "let an administrator run: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    as_root=(sudo)
  fi
  say "      installing ${missing[*]}"
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# prepare_mpi RANKS: what Open MPI needs to start RANKS ranks on this machine. Ranks compute on one thread each.
prepare_mpi() {
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    # Root mostly means a container, where reading another process's memory is often forbidden.
    export OMPI_MCA_btl_vader_single_copy_mechanism=none
  fi
  if [ "$1" -gt "$(cores)" ] || [ "$1" -gt "$(processors)" ]; then
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
  fi
}

# configure PRESET [VARIABLE=VALUE…]: CMake in build/PRESET, unless it is configured with these values already.
configure() {
  local preset=$1 cache="$ROOT/build/$1/CMakeCache.txt" setting outdated=false
  shift
  for setting in "$@"; do
    grep -q "^${setting%%=*}:.*=${setting#*=}$" "$cache" 2>/dev/null || outdated=true
  done
  if $outdated || [ ! -f "$ROOT/build/$preset/build.ninja" ]; then
    (cd "$ROOT" && quietly cmake --preset "$preset" "${@/#/-D}")
  fi
}

# build PRESET [TARGET…]: all targets without names.
build() {
  local preset=$1
  shift
  cmake --build "$ROOT/build/$preset" --parallel "$(processors)" ${1:+--target "$@"} </dev/null
}
