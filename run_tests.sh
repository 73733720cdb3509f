#!/usr/bin/env bash
# Sets itself up and runs the tests; arguments go to pytest: ./run_tests.sh -k geometry
set -euo pipefail
case "${LFM_DATA:-/}" in /*) ;; *) export LFM_DATA="$PWD/$LFM_DATA" ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT="$PWD"
source scripts/setup_env.sh
setup_env
exec "$PYTHON" -m pytest "$@"
