"""The one writer of checkpoint folders: whole and checked, or not there.

    folder/.writing/   filled, patched, read back and checked
    folder/            its files, moved up, config.json last

A folder without a config.json is no checkpoint to anybody, so a write that was killed or refused
leaves none. What else lies in the folder (a run's own files) stays.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ropewalk.configs.keys import ROPE_DICTS
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.quiet import quiet
from ropewalk.integrations.sources import read_config
from ropewalk.methods.sidecar import SIDECAR
from ropewalk.storage.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG = "config.json"
CARD = "README.md"
_WRITING = ".writing"


def write_folder(
    folder: Path,
    *,
    fill: Callable[[Path], None],
    check: Callable[[Path], None],
    patch: Mapping[str, Any] = MappingProxyType({}),
    remove: Sequence[str] = (),
    sidecar: Mapping[str, Any] | None = None,
    card: str = "",
) -> None:
    """Write a checkpoint folder that ``check`` found right.

    fill     puts weights, tokenizer and config.json into an empty folder
    check    reads the folder back; raises RopewalkError where it is not what was asked for
    patch    keys to set in that config.json, at their places
    remove   keys of the text model's config that they replace
    sidecar  of ropewalk.json; None where config.json says all
    card     README.md; empty for none

    Raises RopewalkError where a checkpoint lies there already, and for a folder that cannot be
    written; nothing is left then that loads.
    """
    require_free(folder)
    draft = folder / _WRITING
    with _explained(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    try:
        with _explained(folder):
            fill(draft)
            _state(draft, patch, remove, sidecar, card)
        check(draft)
        with _explained(folder):
            for file in sorted(draft.iterdir(), key=lambda each: each.name == CONFIG):
                file.replace(folder / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_free(folder: Path) -> None:
    """Raise RopewalkError for a place where a checkpoint, or a file, lies already."""
    if folder.exists() and not folder.is_dir():
        raise RopewalkError(f"{folder} is a file: expected a folder, new or without a checkpoint")
    if (folder / CONFIG).exists():
        raise RopewalkError(
            f"{folder} holds a checkpoint already: expected a new folder; give another one"
        )


def saving(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase | None"
) -> Callable[[Path], None]:
    """Fills a folder with a model that is loaded, and its tokenizer."""

    def fill(folder: Path) -> None:
        with quiet():
            model.save_pretrained(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)

    return fill


def patched(
    config: Mapping[str, Any], patch: Mapping[str, Any], remove: Sequence[str] = ()
) -> dict[str, Any]:
    """A config with keys set, and those that they replace dropped beside a rope dict."""
    inner = {
        key: patched(config.get(key) or {}, value, remove)
        for key, value in patch.items()
        if isinstance(value, Mapping) and key not in ROPE_DICTS
    }
    gone = remove if any(key in patch for key in ROPE_DICTS) else ()
    kept = {key: value for key, value in config.items() if key not in gone}
    return {**kept, **patch, **inner}


def _state(
    draft: Path,
    patch: Mapping[str, Any],
    remove: Sequence[str],
    sidecar: Mapping[str, Any] | None,
    card: str,
) -> None:
    """Write what the folder says of itself."""
    _write_json(draft / CONFIG, patched(read_config(draft / CONFIG), patch, remove))
    (draft / SIDECAR).unlink(missing_ok=True)
    if sidecar is not None:
        _write_json(draft / SIDECAR, sidecar)
    if card:
        write_whole(draft / CARD, card.encode())


def _write_json(file: Path, document: Mapping[str, Any]) -> None:
    write_whole(file, (json.dumps(document, indent=2) + "\n").encode())


@contextmanager
def _explained(folder: Path) -> "Iterator[None]":
    """What a full disk or a folder that is not ours raises, in one line."""
    try:
        yield
    except OSError as error:
        raise RopewalkError(
            f"{folder} cannot be written ({error.strerror or error}); make room or give another "
            "folder, and run again"
        ) from error
