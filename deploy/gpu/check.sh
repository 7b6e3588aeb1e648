#!/usr/bin/env bash
# All that only a GPU can show, on one GPU, in under ten minutes: a line of JSON a result, each with the card's name and its driver.
#
#   deploy/gpu/check.sh [GPU]      GPU: its number, 0 unless given
#
# It builds nothing. It takes
#   M2T_BINARIES   the folder of m2t-trainer [default: target/release]
#   M2T_PARITY     the parity tests' program [default: the newest target/release/deps/parity-*]
#   M2T_PYTHON     a Python 3.11 or newer; with torch and torchvision for CUDA the published step is measured beside ours [default: python3]
#   M2T_SHARED     the folder with baselines/pytorch_step.py, the published step [default: ../shared]
#   M2T_NCCL       another libnccl.so.2; from 2.30 on two processes share the GPU
#   LD_LIBRARY_PATH  the folder of a libtorch 2.11 with CUDA, where the programs' own (.libtorch, by `cargo xtask set-up --cuda`) is not there
#
# Exit codes: 0 all that could be checked holds; 1 something does not, or there is no GPU.
set -euo pipefail

gpu="${1:-0}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
binaries="${M2T_BINARIES:-$root/target/release}"
trainer="$binaries/m2t-trainer"

if [[ ! "$gpu" =~ ^[0-9]+$ ]]; then
  echo "check.sh: $gpu is not the number of a GPU; nvidia-smi -L lists them" >&2
  exit 1
fi
if [[ ! -x "$trainer" ]]; then
  echo "check.sh: there is no m2t-trainer in $binaries; build it (cargo build --release), or name its folder by M2T_BINARIES" >&2
  exit 1
fi
# As m2t-worker starts its trainers; without a GPU this says so in a sentence.
export NCCL_NVLS_ENABLE=0
if ! facts="$("$trainer" gpus "$gpu")"; then
  exit 1
fi
parity="${M2T_PARITY:-}"
if [[ -z "$parity" ]]; then
  parity="$(find "$root/target/release/deps" -maxdepth 1 -name 'parity-*' -type f -executable -printf '%T@ %p\n' 2>/dev/null \
    | sort -rn | head -n 1 | cut -d ' ' -f 2-)"
fi
exec "${M2T_PYTHON:-python3}" "$here/check.py" --gpu "$gpu" --facts "$facts" --trainer "$trainer" --parity "$parity" \
  --fixtures "$root/worker/trainer/tests/fixtures/parity" --published "${M2T_SHARED:-$root/../shared}/baselines/pytorch_step.py"
