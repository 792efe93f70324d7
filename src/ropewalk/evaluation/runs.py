"""A run folder: one JSON file a cell, named by everything that decides its value.

A killed run goes on where it stopped, and several processes or machines may share one folder
(``ropewalk.storage.folders``). A finished cell is never measured again. A failed cell is tried
again whenever the run goes on: what lacked memory may have it now, and refused input is refused
again at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ropewalk.evaluation.averages import Average
from ropewalk.evaluation.bootstrap import UnitSum
from ropewalk.evaluation.cells import Cell, Measured, Result
from ropewalk.evaluation.setting import Setting
from ropewalk.storage.folders import Folder, Key


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

    folder: Folder
    average: Average

    @classmethod
    def open(cls, path: Path, setting: Setting) -> "RunFolder":
        """Create the folder, or go on with one of the same setting.

        Raises RopewalkError if ``path`` is a file, cannot be written, or holds a run of
        another version or another setting.
        """
        return cls(Folder.open(path, setting.manifest()), setting.protocol.average)

    def load(self, key: Key, cell: Cell) -> Measured | None:
        stored = self.folder.load(key)
        try:
            return None if stored is None else _measured(stored, cell, self.average)
        except (ValueError, KeyError, TypeError):
            return None

    def save(self, key: Key, result: Result) -> None:
        units = [asdict(unit) for unit in result.units]
        self.folder.save(key, {"record": result.record(), "units": units})


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
