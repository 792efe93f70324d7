"""A new GGUF file whose keys and tensors state a method."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ropewalk.configs.gguf import config_of, read_header
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP
from ropewalk.engines.export.gguf import gguf_edit, require_computed
from ropewalk.integrations.gguf_files import write_gguf
from ropewalk.integrations.sources import Checkpoint
from ropewalk.shipping.folder import ReadShape


def ship_gguf(
    checkpoint: Checkpoint,
    spec: str,
    *,
    length: int | None,
    place: Path,
    read: ReadShape,
    advanced: Callable[[float], None],
) -> dict[str, Any]:
    """Write ``place`` from a .gguf file.

    read      makes the shape of a parsed config.json
    advanced  told the share that is written

    Returns what ``gguf_edit`` does, with ``commands`` and ``out``. Raises RopewalkError as it and
    ``write_gguf`` do, and for a folder.
    """
    if checkpoint.gguf_file is None:
        raise RopewalkError(
            f"{checkpoint.name}: a new .gguf file is made of a .gguf file; convert the folder with "
            "llama.cpp's convert_hf_to_gguf.py first, then give that file"
        )
    if place.suffix != ".gguf":
        raise RopewalkError(f"--out {place}: expected the name of a new .gguf file")
    source = checkpoint.folder / checkpoint.gguf_file
    header = read_header(source)
    shape = read(config_of(header))
    edit, document = gguf_edit(header, shape, spec, length)

    def check(partial: Path) -> None:
        require_computed(read_header(partial), shape, spec, document["length"])

    write_gguf(
        source,
        place,
        keys=document["keys"],
        drops=lambda name: edit.replaces(name, header.architecture),
        tensors={f"{name}.weight": values for name, values in edit.tensors.items()},
        check=check,
        advanced=advanced,
    )
    command = shlex.join(["llama-server", "-m", str(place), "-c", str(document["length"])])
    return {**document, "commands": {LLAMA_CPP: command}, "out": str(place)}
