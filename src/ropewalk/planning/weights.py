"""Bytes of a checkpoint's weights, from the headers of its files.

    file = 8 bytes little-endian n, n bytes of JSON {name: {"dtype", "shape", "data_offsets"}}, data

The offsets of the tensors say how many bytes are data. A GGUF file is counted whole: its header
is small beside its tensors. Weights that an engine quantises at load take less.

Source: the safetensors format, README of the library.
"""

import json
from pathlib import Path

from ropewalk.core.errors import RopewalkError

_LARGEST_HEADER = 100_000_000
"""Of the library itself."""


def weight_bytes(path: Path) -> int | None:
    """Of a folder of safetensors files or a .gguf file; None where there are no weights.

    Raises RopewalkError for a file that is cut off or none of its kind.
    """
    if path.is_file():
        return path.stat().st_size if path.suffix == ".gguf" else None
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    return sum(map(_tensor_bytes, files)) if files else None


def _tensor_bytes(path: Path) -> int:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LARGEST_HEADER)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != _METADATA]
        return max(map(int, ends), default=0)
    except (OSError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise RopewalkError(
            f"{path}: no safetensors header ({type(error).__name__}): expected a whole file; "
            "download it again"
        ) from error


_METADATA = "__metadata__"
