#!/usr/bin/env bash
# Everything between a fresh Debian 12 and a built clipself: packages, LibTorch, configuration, compilation. Each step
# looks first whether it is needed, so that a second run only compiles what has changed.
#
# quickstart.sh and test.sh source this file and call set_up; run by itself it does the same and stops there.
set -euo pipefail
unset CDPATH # With it cd may print, and its output is used here.

# Debian's names; Ubuntu 24.04 knows the same. Python is added only when LibTorch has to be fetched.
readonly PACKAGES=(g++ cmake ninja-build libjpeg-dev libpng-dev zlib1g-dev libsimdjson-dev nlohmann-json3-dev
  libpugixml-dev libcli11-dev libspdlog-dev libfmt-dev libmd-dev libicu-dev libsentencepiece-dev
  libgtest-dev libgloo-dev)
readonly TORCH_PACKAGE=torch==2.13.0
readonly TORCH_OLDEST=2.6

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
build=$root/build
jobs=
torch_asked=
rest=()

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

setup_options_help() {
  cat <<'HELP'
  --torch DIR      use the LibTorch in DIR (an unpacked libtorch, or .../site-packages/torch); remembered for later
                   runs. Without it: CMAKE_PREFIX_PATH, else a torch of 2.6 or newer in the current python3, else
                   one fetched by pip into the project's own .venv
  --build-dir DIR  where to build (default: build/ in the project)
  -j N             compile N files at a time (default: as many as processors and memory allow)
  -h, --help       this text
HELP
}

# Takes the options above out of the arguments; what remains is left in the array `rest`, in order.
parse_setup_options() {
  while (($# > 0)); do
    case $1 in
      --torch | --build-dir | -j)
        [[ -n ${2-} ]] || fail "$1 needs a value (see --help)"
        set_setup_option "$1" "$2"
        shift
        ;;
      --torch=* | --build-dir=*) set_setup_option "${1%%=*}" "${1#*=}" ;;
      -j[0-9]*) set_setup_option -j "${1#-j}" ;;
      --)
        shift
        rest+=("$@")
        return
        ;;
      *) rest+=("$1") ;;
    esac
    shift
  done
}

set_setup_option() {
  case $1 in
    --torch) torch_asked=$2 ;;
    --build-dir) build=$(realpath -m -- "$2") ;;
    -j)
      [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "-j needs a number of at least 1, not '$2'"
      jobs=$2
      ;;
  esac
}

# The log holds one step: the last.
begin_log() { : >"$build/setup.log"; }
logged() { "$@" >>"$build/setup.log" 2>&1; }

# reason PATTERN: the first line of the log that matches, which is the one that says what went wrong.
reason() {
  local line
  line=$(grep -m1 -E "$1" "$build/setup.log" | tr -s '[:space:]' ' ' || true)
  line=${line% }
  printf '%s (whole log: %s)' "${line:-no message}" "$build/setup.log"
}

# Installs those of the named Debian packages that are missing.
require_packages() {
  command -v dpkg-query >/dev/null || return 0 # Another distribution: cmake names what it does not find.
  local installed missing=() package
  # Multi-arch packages appear as name:arch, and dpkg-query fails when it does not know one of the names.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qxF "installed $package" <<<"$installed" || missing+=("$package")
  done
  ((${#missing[@]} > 0)) || return 0

  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      fail "missing packages, and neither root nor sudo to install them: apt-get install ${missing[*]}"
    as_root=(sudo)
    # Without a terminal sudo could not ask for a password and would say so in several lines.
    if ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
      fail "missing packages, and sudo wants a password: sudo apt-get install ${missing[*]}"
    fi
  fi
  say "installing with apt: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=2 -o DPkg::Lock::Timeout=300)
  begin_log
  # A failed update may concern a source that is not needed: the install tells.
  logged "${apt[@]}" update </dev/null || true
  logged "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null ||
    fail "apt could not install them: $(reason '^E: |^ +(Temporary failure|Could not|Unable to)|^sudo:'); is the network there?"
}

# Prints the folder of TorchConfig.cmake belonging to what a user may call "the torch folder".
torch_config_folder() {
  local inner
  for inner in share/cmake/Torch torch/share/cmake/Torch lib/python3*/site-packages/torch/share/cmake/Torch \
    lib/cmake/Torch Torch .; do
    # shellcheck disable=SC2086 # The pattern is to be expanded.
    for candidate in "$1"/$inner; do
      if [[ -f $candidate/TorchConfig.cmake ]]; then
        (cd "$candidate" && pwd)
        return 0
      fi
    done
  done
  return 1
}

torch_version() { sed -n 's/^set(PACKAGE_VERSION "\(.*\)")/\1/p' "$1/TorchConfigVersion.cmake" 2>/dev/null; }

# Prints why the LibTorch of this TorchConfig.cmake folder cannot be used; nothing when it can.
torch_objection() {
  local version
  version=$(torch_version "$1")
  if [[ $(printf '%s\n' "$TORCH_OLDEST" "${version:-0}" | sort -V | head -n1) != "$TORCH_OLDEST" ]]; then
    echo "is version ${version:-unknown}, and $TORCH_OLDEST or newer is needed"
  elif grep -q '_GLIBCXX_USE_CXX11_ABI=0' "$1/TorchConfig.cmake"; then
    echo "was compiled with the old C++ ABI and does not link with this system's libraries"
  fi
}

# Prints the torch folder of a Python without importing it (which takes seconds).
python_torch_folder() {
  "$1" -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0])' 2>/dev/null
}

# Sets torch_config to the folder of TorchConfig.cmake and says which LibTorch that is.
find_torch() {
  local folder objection note
  local remembered=$build/torch-given
  if [[ -n $torch_asked ]]; then
    torch_config=$(torch_config_folder "$torch_asked") ||
      fail "--torch: no LibTorch in '$torch_asked' (share/cmake/Torch/TorchConfig.cmake is missing)"
    objection=$(torch_objection "$torch_config")
    [[ -z $objection ]] || fail "--torch: the LibTorch in '$torch_asked' $objection"
    echo "$torch_config" >"$remembered"
    announce_torch "given with --torch"
    return
  fi
  local prefixes
  IFS=: read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for folder in "${prefixes[@]}"; do
    [[ -n $folder ]] && use_torch_if_good "$folder" "from CMAKE_PREFIX_PATH" && return
  done
  if [[ -f $remembered ]]; then
    use_torch_if_good "$(<"$remembered")" "given with --torch before" && return
  fi
  if command -v python3 >/dev/null && folder=$(python_torch_folder python3); then
    use_torch_if_good "$folder" "of the current python3" && return
  fi
  note="of the project's .venv"
  # pip writes RECORD last: without it an interrupted installation would pass for a whole one.
  if ! compgen -G "$root/.venv/lib/python3*/site-packages/torch-*.dist-info/RECORD" >/dev/null; then
    fetch_torch
    note="fetched into the project's .venv"
  fi
  use_torch_if_good "$root/.venv" "$note" || fail "the LibTorch in '$root/.venv' cannot be used; remove that folder and try again"
}

# Succeeds, and announces, when `folder` holds a LibTorch that can be used; otherwise says why it is passed over.
use_torch_if_good() {
  local objection
  torch_config=$(torch_config_folder "$1") || return 1
  objection=$(torch_objection "$torch_config")
  if [[ -n $objection ]]; then
    say "passing over the LibTorch in $1: it $objection"
    return 1
  fi
  announce_torch "$2"
}

announce_torch() { say "LibTorch $(torch_version "$torch_config") $1 ($(cd "$torch_config/../../.." && pwd))"; }

# Prints a Python that can make environments with pip in them. Debian ships that ability apart from python3.
python_with_venv() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$python"
      return 0
    fi
  done
  return 1
}

fetch_torch() {
  local python
  if ! python=$(python_with_venv); then
    require_packages python3 python3-venv
    python=$(python_with_venv) || fail "a python3 with its venv module is needed to fetch LibTorch (or give one with --torch DIR)"
  fi
  say "fetching LibTorch: pip install $TORCH_PACKAGE into $root/.venv"
  begin_log
  logged "$python" -m venv "$root/.venv" || fail "$python could not make $root/.venv: $(reason '[Ee]rror')"
  # pip's progress is for the eyes; its errors go to the log, and the one that counts is told here.
  "$root/.venv/bin/python" -m pip install --disable-pip-version-check --no-input "$TORCH_PACKAGE" 2>>"$build/setup.log" ||
    fail "pip could not install $TORCH_PACKAGE: $(reason '^ERROR:'); is the network there? (or give a LibTorch with --torch DIR)"
}

# Succeeds when the build folder is configured for this source, generator and LibTorch.
configured() {
  [[ -f $build/build.ninja && -f $build/CMakeCache.txt ]] &&
    grep -qxF "Torch_DIR:PATH=$torch_config" "$build/CMakeCache.txt" &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt"
}

configure() {
  configured && return
  say "configuring in $build"
  # --fresh: what an earlier configuration found belongs to another LibTorch, or to one that was interrupted.
  begin_log
  logged cmake --fresh -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DTorch_DIR:PATH=$torch_config" ||
    fail "cmake could not configure: $(sed -n '/^CMake Error/,/^$/p' "$build/setup.log" | head -n5 | tr -s '[:space:]' ' ')(whole log: $build/setup.log)"
}

# As many compilers as there are processors, and 2 GB for each: LibTorch's headers are large.
default_jobs() {
  local processors memory
  processors=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 2000000) }' /proc/meminfo)
  echo $((memory < 1 ? 1 : memory < processors ? memory : processors))
}

# set_up TARGET...: from whatever there is to these targets, built.
set_up() {
  { mkdir -p "$build" && begin_log; } 2>/dev/null || fail "cannot write in $build (made by another user?)"
  require_packages "${PACKAGES[@]}"
  find_torch
  configure
  [[ -n $jobs ]] || jobs=$(default_jobs)
  say "building in $build ($jobs at a time)"
  ninja -C "$build" -j "$jobs" "$@" || fail "the build failed; the compiler's message is above"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  parse_setup_options "$@"
  case ${rest[*]-} in
    '') set_up all ;;
    -h | --help)
      echo "usage: scripts/setup.sh [options]"
      echo "Installs what is missing, configures and builds the program and its tests."
      setup_options_help
      ;;
    *) fail "unknown argument: ${rest[*]} (see --help)" ;;
  esac
fi
