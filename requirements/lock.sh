#!/bin/sh
# Write the lock files anew, for Python 3.11 to 3.14 at once (needs uv). Review the diff, then run the tests.
set -eu
cd "$(dirname "$0")"

lock() {  # NAME PYTHON OPTION...
    name=$1 python=$2
    shift 2
    uv pip compile --quiet --no-annotate --custom-compile-command 'requirements/lock.sh' \
        --python-version "$python" "$@" "$name.in" -o "$name.txt"
}

lock wheels 3.11 --universal --generate-hashes
lock apt 3.12 --universal --generate-hashes
# No hashes for torch, whose builds differ by index; its CUDA packages are pinned by its own metadata.
lock train 3.11 --universal $(for name in \
    cuda-bindings cuda-pathfinder cuda-toolkit triton \
    nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
    nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 \
    nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx; do echo "--no-emit-package $name"; done)
lock mutants 3.11 --universal --generate-hashes
lock train-alone 3.11 --universal --generate-hashes --no-deps
lock optimise 3.11 --universal --generate-hashes --no-deps
lock edge 3.11 --universal --generate-hashes --no-deps
