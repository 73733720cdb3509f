#!/usr/bin/env bash
# Writes requirements.lock anew from pyproject.toml (needs uv). Change the torch version here.
# The CUDA packages are left out: each torch wheel names the exact ones it wants, and a lock of one build's would refuse the others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
omit=()
for package in triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-{cublas,cuda-cccl,cuda-cupti,cuda-nvrtc,cuda-runtime,cudnn-cu13,cufft,cufile,curand,cusolver,cusparse,cusparselt-cu13,nccl-cu13,nvjitlink,nvshmem-cu13,nvtx}; do
  omit+=(--no-emit-package "$package")
done
uv pip compile --universal --python-version 3.11 --extra test --constraint <(echo "torch==2.13.0") --no-annotate --quiet \
  "${omit[@]}" --custom-compile-command "scripts/lock.sh" --output-file requirements.lock "$@" pyproject.toml >/dev/null
sed -i.bak '/^# The following packages were excluded/,$d' requirements.lock && rm -f requirements.lock.bak
if grep -E '^(nvidia|cuda|triton)|\+(cpu|cu[0-9])' requirements.lock; then
  echo "requirements.lock: the lines above must not be pinned; add them to the list in scripts/lock.sh" >&2
  exit 1
fi
