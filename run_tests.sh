#!/usr/bin/env bash
# Sets itself up and runs the tests; arguments go to pytest: ./run_tests.sh -k geometry
set -euo pipefail
case "${LFM_DATA:-/}" in /*) ;; *) export LFM_DATA="$PWD/$LFM_DATA" ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT="$PWD"
source scripts/setup_env.sh
setup_env
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # a process per core: their threads would only get in each other's way
exec "$PYTHON" -m pytest -n auto --dist loadfile "$@"
