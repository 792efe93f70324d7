"""A run folder, read for reports: results, manifest, the model's config, and where it was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.storage.folders import MANIFEST
from ropewalk.storage.origins import Origin, origins

RESULTS = "results.json"
CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run folder holds.

    name      of the folder, without the way to it
    document  what ``ropewalk compare --json`` prints
    manifest  what all cells have in common; empty where it is missing
    config    of the model, as it ran; None where the run kept none
    """

    name: str
    document: Mapping[str, Any]
    manifest: Mapping[str, Any]
    config: Mapping[str, Any] | None
    origins: tuple[Origin, ...]

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Raises RopewalkError for a folder without results, with the remedy."""
        if not folder.is_dir():
            raise RopewalkError(f"{folder}: no such folder; expected a run folder of compare --out")
        document = _json(folder / RESULTS)
        if document is None and (folder / MANIFEST).is_file():
            raise RopewalkError(
                f"{folder} has no {RESULTS}: the run is not finished; give the same `ropewalk "
                "compare` command again, which goes on where it stopped"
            )
        if document is None or "cells" not in document:
            raise RopewalkError(f"{folder}: expected a run folder of compare, with {RESULTS}")
        return cls(
            name=folder.resolve().name,
            document=document,
            manifest=_json(folder / MANIFEST) or {},
            config=_json(folder / CONFIG),
            origins=tuple(origins(folder)),
        )

    def data(self) -> dict[str, Any]:
        """All of it as one JSON object, without the way to the folder."""
        return {
            "name": self.name,
            "document": {**self.document, "run_dir": self.name},
            "manifest": self.manifest,
            "config": self.config,
            "origins": list(self.origins),
        }


def _json(file: Path) -> dict[str, Any] | None:
    """None where there is no such file. Raises RopewalkError for what is no JSON object."""
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RopewalkError(f"{file} cannot be read ({error}); expected JSON") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise RopewalkError(f"{file} is not JSON ({error}); run compare again") from error
    if not isinstance(content, dict):
        raise RopewalkError(f"{file}: expected a JSON object; run compare again")
    return content
