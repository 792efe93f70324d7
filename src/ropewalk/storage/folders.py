"""A folder of results that goes on where it stopped: JSON files, named by what decides them.

    run.json             the manifest: what all results have in common
    cells/<sha256>.json  one result

A file is written beside its place and renamed, so that it is whole or not there: several
processes or machines may share one folder.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.storage.files import write_whole

MANIFEST = "run.json"
FORMAT = 2
"""Version of the layout: raised when files of an older one can no longer be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Everything that decides a result, as canonical JSON."""

    text: str

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> "Key":
        """Equal parts make equal keys, in whatever order they are given."""
        return cls(text=json.dumps(parts, sort_keys=True))

    @property
    def digest(self) -> str:
        """sha256 of the text, as hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Folder:
    """Results on disk. Make one by ``open``."""

    path: Path

    @classmethod
    def open(cls, path: Path, manifest: Mapping[str, Any]) -> "Folder":
        """Create the folder, or go on with one of the same manifest.

        manifest  what all results have in common, as JSON has it

        Raises RopewalkError if ``path`` is a file, cannot be written, or holds results of
        another format or another manifest.
        """
        file, wanted = path / MANIFEST, {"format": FORMAT, **manifest}
        if file.exists():
            _require_same(path, read_manifest(file), wanted)
        else:
            _make_folder(path)
            _write(file, wanted)
        _make_folder(path / "cells")
        return cls(path)

    def load(self, key: Key) -> Mapping[str, Any] | None:
        """What was saved under the key; None if it is absent or unreadable."""
        try:
            stored = json.loads(self._file(key).read_bytes())
            return stored if stored["key"] == key.text else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: Key, content: Mapping[str, Any]) -> None:
        """Keep a result. Raises RopewalkError if it cannot be written."""
        _write(self._file(key), {"key": key.text, **content})

    def _file(self, key: Key) -> Path:
        return self.path / "cells" / f"{key.digest}.json"


def read_manifest(file: Path) -> Mapping[str, Any]:
    """What all results of a folder have in common; RopewalkError if it cannot be read."""
    try:
        manifest = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise RopewalkError(
            f"{file} cannot be read ({error}): expected the manifest of a run; "
            "give another folder, or delete this one"
        ) from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise RopewalkError(f"{file} is not the manifest of a run; give another folder")
    return manifest


def _require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if found["format"] != FORMAT:
        raise RopewalkError(
            f"run folder {path} has format {found['format']}: expected {FORMAT}; "
            "give another folder"
        )
    for name, value in wanted.items():
        if found.get(name) != value:
            raise RopewalkError(
                f"run folder {path} was made with {name} {shortened(found.get(name))}: expected "
                f"{shortened(value)}; give another folder, or go on with what it was made with"
            )


def shortened(value: object) -> str:
    """A value of a manifest as JSON, for one line of a message."""
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RopewalkError(
            f"run folder {path} cannot be made ({error.strerror}); give another folder"
        ) from error


def _write(file: Path, content: Mapping[str, Any]) -> None:
    write_whole(file, json.dumps(content, indent=1, allow_nan=False).encode())
