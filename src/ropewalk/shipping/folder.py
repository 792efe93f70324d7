"""A checkpoint folder whose config.json states a method."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ropewalk.configs.shape import ModelShape
from ropewalk.engines.export.portable import portable_block, require_computed
from ropewalk.integrations.copying import copying
from ropewalk.integrations.folders import CONFIG, require_free, write_folder
from ropewalk.integrations.sources import Checkpoint, config_file, read_config
from ropewalk.reporting.model_card import model_card
from ropewalk.storage.version import code_version

ReadShape = Callable[[Mapping[str, Any]], ModelShape]


def ship_folder(
    checkpoint: Checkpoint,
    spec: str,
    engine: str,
    *,
    length: int | None,
    place: Path,
    read: ReadShape,
    base: str | None = None,
    trained: str = "",
) -> dict[str, Any]:
    """Write ``place`` from a checkpoint, and say what each engine makes of it.

    read     makes the shape of a parsed config.json
    base     of ``model_card``; by default the checkpoint's name
    trained  of ``model_card``

    Returns what ``portable_block`` does, its commands with the folder's place, and ``out``.
    Raises RopewalkError as it does, and as ``write_folder`` and ``copying`` do.
    """
    require_free(place)
    if checkpoint.gguf_file is not None:
        copying(checkpoint, 0)  # which says what a folder is made of
    shape = read(read_config(config_file(checkpoint)))
    document = portable_block(shape, spec, length=length, engine=engine)

    def check(draft: Path) -> None:
        require_computed(read(read_config(draft / CONFIG)), shape, spec, engine, length)

    write_folder(
        place,
        fill=copying(checkpoint, document["length"]),
        check=check,
        patch=document["config"],
        remove=document["remove"],
        card=model_card(
            document, base=base or checkpoint.name, version=code_version(), trained=trained
        ),
    )
    commands = document["commands"]
    placed = {name: text.replace(" MODEL ", f" {place} ") for name, text in commands.items()}
    return {**document, "commands": placed, "out": str(place)}
