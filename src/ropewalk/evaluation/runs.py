"""A run folder: one JSON file a cell, named by everything that decides its value.

    run.json             the manifest: what all cells have in common
    cells/<sha256>.json  one finished or failed cell

A file is written beside its place and renamed, so that it is whole or not there: a killed
run goes on where it stopped, and several processes or machines may share one folder. A
finished cell is never measured again. A failed cell is tried again whenever the run goes
on: what lacked memory may have it now, and refused input is refused again at once.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.core.files import write_whole
from ropewalk.evaluation.averages import Average
from ropewalk.evaluation.bootstrap import UnitSum
from ropewalk.evaluation.cells import Cell, Measured, Result
from ropewalk.evaluation.setting import FORMAT, Key, Setting

MANIFEST = "run.json"


class Store(ABC):
    """Where results are kept."""

    @abstractmethod
    def load(self, key: Key, cell: Cell) -> Measured | None:
        """The finished cell under ``key``; None if it is absent, failed or unreadable."""

    @abstractmethod
    def save(self, key: Key, result: Result) -> None:
        """Keep a result. Raises RopewalkError if it cannot be written."""


@dataclass(frozen=True, slots=True)
class Unsaved(Store):
    """Keeps nothing: for a measurement without a folder."""

    def load(self, key: Key, cell: Cell) -> Measured | None:
        return None

    def save(self, key: Key, result: Result) -> None:
        return None


@dataclass(frozen=True, slots=True)
class RunFolder(Store):
    """A run on disk. Make one by ``open``."""

    path: Path
    average: Average

    @classmethod
    def open(cls, path: Path, setting: Setting) -> "RunFolder":
        """Create the folder, or go on with one of the same setting.

        Raises RopewalkError if ``path`` is a file, cannot be written, or holds a run of
        another version or another setting.
        """
        manifest = setting.manifest()
        file = path / MANIFEST
        if file.exists():
            _require_same(path, _read_manifest(file), manifest)
        else:
            _make_folder(path)
            _write(file, manifest)
        _make_folder(path / "cells")
        return cls(path, setting.protocol.average)

    def load(self, key: Key, cell: Cell) -> Measured | None:
        try:
            stored = json.loads(self._file(key).read_bytes())
            return _measured(stored, cell, self.average) if stored["key"] == key.text else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: Key, result: Result) -> None:
        content = {
            "key": key.text,
            "record": result.record(),
            "units": [asdict(unit) for unit in result.units],
        }
        _write(self._file(key), content)

    def _file(self, key: Key) -> Path:
        return self.path / "cells" / f"{key.digest}.json"


def _measured(stored: Mapping[str, Any], cell: Cell, average: Average) -> Measured | None:
    record = stored["record"]
    if record["status"] != "ok":
        return None
    units = tuple(UnitSum(**unit) for unit in stored["units"])
    if record["tokens_scored"] != sum(unit.tokens for unit in units):
        return None
    return Measured(
        cell=cell,
        units=units,
        seconds=float(record["seconds"]),
        peak_memory_bytes=record["peak_memory_bytes"],
        average=average,
    )


def _read_manifest(file: Path) -> Mapping[str, Any]:
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
                f"run folder {path} was made with {name} {_short(found.get(name))}: expected "
                f"{_short(value)}; give another folder, or go on with what it was made with"
            )


def _short(value: object) -> str:
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
