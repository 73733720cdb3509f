#!/usr/bin/env bash
# Regenerates the results: sets itself up, runs the notebooks, side by side where the profile says so, and says in one
# line how each went.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: ./run_all.sh [--profile smoke|cpu|full] [NN ...]
  --profile  smoke: seconds per notebook, checks that all of it runs; cpu (default): the committed results, minutes;
             full: the papers' sizes, wants a GPU
  NN         numbers of notebooks, e.g. 02 05; none: all
Results go to results/<profile>/, or below LFM_RESULTS. Real data is used where LFM_DATA names its folder.
TEXT
}
wrong() { echo "run_all.sh: $*" >&2; usage >&2; exit 2; }

profile=cpu
numbers=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --profile) [ $# -ge 2 ] || wrong "--profile needs a value"; profile="$2"; shift ;;
    --profile=*) profile="${1#*=}" ;;
    [0-9] | [0-9][0-9]) numbers+=("$1") ;;
    *) wrong "cannot make sense of '$1'" ;;
  esac
  shift
done
case "$profile" in smoke | cpu | full) ;; *) wrong "unknown profile '$profile'" ;; esac

# relative folders mean the caller's: from here on the working directory is the repository
case "${LFM_DATA:-/}" in /*) ;; *) export LFM_DATA="$PWD/$LFM_DATA" ;; esac
case "${LFM_RESULTS:-/}" in /*) ;; *) export LFM_RESULTS="$PWD/$LFM_RESULTS" ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT="$PWD"
source scripts/setup_env.sh
setup_env
exec "$PYTHON" -m lfmlib.runner --profile "$profile" ${numbers[@]+"${numbers[@]}"}
