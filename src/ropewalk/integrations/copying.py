"""The files of a checkpoint in another folder: weights linked, all else copied."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.sources import HUB_FILES, Checkpoint, require_weights

_TOKENIZER = "tokenizer_config.json"
_LONGEST = "model_max_length"
_LEFT = ("README.md",)


def copying(source: Checkpoint, length: int) -> Callable[[Path], None]:
    """Fills a folder with the files of a checkpoint.

    Weights are hard links where the file system allows it, so that they take no room: nothing of
    ours writes into a file of weights. A tokenizer that would warn of ``length`` tokens is told.

    Raises RopewalkError for a .gguf file, and for a folder without weights.
    """
    if source.gguf_file is not None:
        raise RopewalkError(
            f"{source.name}: a .gguf file has no config.json; expected a transformers folder, or "
            "--engine llama.cpp and --out NEW.gguf"
        )
    require_weights(source.folder)

    def fill(folder: Path) -> None:
        for pattern in (*HUB_FILES, "LICENSE*", "NOTICE*"):
            for file in source.folder.glob(pattern):
                if file.is_file() and file.name not in _LEFT:
                    _place(file.resolve(), folder / file.name)
        _tell_tokenizer(folder / _TOKENIZER, length)

    return fill


def _place(file: Path, place: Path) -> None:
    if place.exists():
        return
    if file.suffix == ".safetensors":
        with suppress(OSError):  # another file system, or one without links
            os.link(file, place)
            return
    shutil.copyfile(file, place)


def _tell_tokenizer(file: Path, length: int) -> None:
    """``model_max_length`` at least the length, where one is stated."""
    if not file.is_file():
        return
    stated = json.loads(file.read_text("utf-8"))
    longest = stated.get(_LONGEST) if isinstance(stated, dict) else None
    if isinstance(longest, int) and longest < length:
        file.unlink()
        file.write_text(json.dumps({**stated, _LONGEST: length}, indent=2) + "\n", "utf-8")
