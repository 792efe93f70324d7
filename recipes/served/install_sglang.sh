#!/usr/bin/env bash
# SGLang for the CPU, in the environment that install_vllm.sh made (they share most packages):
#
#     bash recipes/served/install_sglang.sh DIR
#
# Its own requirements bring CUDA; a text model on the CPU needs none of that but what stands here,
# and a torchvision that is imported and never called: DIR/stubs, for PYTHONPATH.
set -euo pipefail
folder=$1

. "$folder/bin/activate"
pip install --quiet --no-deps sglang==0.5.23
pip install --quiet orjson xxhash zstandard IPython gguf soundfile

stub=$folder/stubs/torchvision
mkdir -p "$stub/transforms/v2"
for module in __init__ io ops transforms/__init__ transforms/functional transforms/v2/__init__ \
    transforms/v2/functional; do
    cat > "$stub/$module.py" <<'PYTHON'
__version__ = "0.0"


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
PYTHON
done
cat >> "$stub/transforms/__init__.py" <<'PYTHON'


from enum import Enum

InterpolationMode = Enum(
    "InterpolationMode", "NEAREST NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS"
)
PYTHON
