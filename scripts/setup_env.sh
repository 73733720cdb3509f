# Sourced by run_all.sh and run_tests.sh: sets PYTHON to an interpreter that has lfmlib of this folder and all it needs.
# In this order: the active conda or venv, if it has everything; .venv, if it is up to date; a new .venv.
# shellcheck shell=bash

TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"

say() { echo "set-up: $*" >&2; }
die() { say "$*"; exit 1; }

# Does this interpreter have this folder's lfmlib, and every dependency in the version that pyproject.toml asks for?
has_everything() {
  (cd / && "$1" - "$ROOT") >/dev/null 2>&1 <<'PYTHON'
import importlib.metadata as metadata, importlib.util, pathlib, sys, tomllib
from packaging.requirements import Requirement
root = pathlib.Path(sys.argv[1]).resolve()
home = importlib.util.find_spec("lfmlib").origin
project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
wanted = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]
wanted = [need for need in wanted if need.marker is None or need.marker.evaluate()]
good = all(need.specifier.contains(metadata.version(need.name), prereleases=True) for need in wanted)
sys.exit(not (good and pathlib.Path(home).resolve().is_relative_to(root)))
PYTHON
}

# Is this the interpreter of a whole virtual environment? (One that was cut off while it was made acts as the system's.)
works() { "$1" -c "import sys, pip; sys.exit(sys.prefix == sys.base_prefix)" >/dev/null 2>&1; }

# The first Python that is new enough and can make a virtual environment; says what is missing where there is none.
find_python() {
  local candidate old="" bare=""
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c "" >/dev/null 2>&1 || continue # a shim of a version that is not installed
    if ! "$candidate" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then
      old="$candidate"
    elif ! "$candidate" -c "import venv, ensurepip" >/dev/null 2>&1; then
      bare="$candidate"
    else
      command -v "$candidate"
      return
    fi
  done
  if [ -n "$bare" ]; then
    die "$bare lacks the modules venv and ensurepip; install them (Debian, Ubuntu: apt install python3-venv)"
  elif [ -n "$old" ]; then
    die "needs Python 3.11 or newer, found only $("$old" --version 2>&1); install one (apt install python3.11 python3.11-venv, brew install python, or conda env create -f environment.yml)"
  fi
  die "needs Python 3.11 or newer, found none; install one (apt install python3 python3-venv, brew install python, or conda env create -f environment.yml)"
}

# Which torch: without an NVIDIA GPU the CPU wheel, which spares Linux users several GB of CUDA packages.
# Whatever the user's pip settings say about package indexes goes before.
torch_source() {
  if [ "$(uname -s)" != Linux ] || nvidia-smi -L >/dev/null 2>&1; then return; fi
  if "$1" -m pip config list 2>/dev/null | grep -E 'index-url|find-links|no-index' >/dev/null || [ -n "${PIP_CONSTRAINT:-}" ]; then
    say "no NVIDIA GPU found; your pip settings decide which torch is installed"
  elif "$1" -c "import urllib.request as u; u.urlopen('$TORCH_CPU_INDEX/torch/', timeout=20)" >/dev/null 2>&1; then
    say "no NVIDIA GPU found: installing the CPU build of torch (set PIP_EXTRA_INDEX_URL to choose another)"
    echo "$TORCH_CPU_INDEX"
  else
    say "notice: $TORCH_CPU_INDEX cannot be reached, so torch comes from your default index, perhaps with CUDA packages"
  fi
}

install() { # into the virtual environment whose interpreter is $1
  local torch index
  torch="$(grep -E '^torch==' requirements.lock | head -n 1 | cut -d ' ' -f 1)"
  [ -n "$torch" ] || die "requirements.lock pins no torch"
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0
  index="$(torch_source "$1")"
  say "installing into .venv, once; this takes some minutes"
  "$1" -m pip install ${index:+--extra-index-url "$index"} -c requirements.lock "$torch" >&2 &&
    "$1" -m pip install -c requirements.lock -e '.[test]' >&2
}

setup_env() {
  local active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" venv="$ROOT/.venv" unfinished="$ROOT/.venv.unfinished" stamp
  if [ -n "$active" ] && [ "$active" != "$venv" ] && [ -x "$active/bin/python" ]; then
    if has_everything "$active/bin/python"; then
      PYTHON="$active/bin/python"
      return
    fi
    say "the active environment $active lacks lfmlib of this folder or a dependency; using .venv"
  fi
  PYTHON="$venv/bin/python"
  stamp="$(cat pyproject.toml requirements.lock | cksum) $ROOT"
  if [ -e "$venv/.lfmlib-stamp" ] && [ "$(cat "$venv/.lfmlib-stamp")" = "$stamp" ] && works "$PYTHON"; then
    return
  fi
  if [ -e "$unfinished" ] || ! works "$PYTHON"; then
    local base
    base="$(find_python)"
    : >"$unfinished" # stays behind if this is interrupted
    [ ! -e "$venv" ] || say "making .venv anew: it is unfinished or broken"
    "$base" -m venv --clear "$venv" || die "$base cannot make a virtual environment in $venv"
  fi
  rm -f "$venv/.lfmlib-stamp"
  : >"$unfinished"
  install "$PYTHON" || die "the installation failed (see above); run the script again to repeat it"
  has_everything "$PYTHON" || die "the installation is incomplete; delete $venv and run the script again"
  echo "$stamp" >"$venv/.lfmlib-stamp"
  rm -f "$unfinished"
}
