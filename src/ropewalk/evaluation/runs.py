"""A run folder: one JSON file a cell, named by everything that decides its value.

A killed run goes on where it stopped, and several processes or machines may share one folder
(``ropewalk.storage.folders``). A finished cell is never measured again. A failed cell is tried
again whenever the run goes on: what lacked memory may have it now, and refused input is refused
again at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.evaluation.cells import Cell, Measurement, Result
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.units import Ratio, Unit
from ropewalk.storage.folders import Folder


class Store(ABC):
    """Where results are kept."""

    @abstractmethod
    def load(self, setting: Setting, cell: Cell) -> Measurement | None:
        """The finished cell; None if it is absent, failed or unreadable."""

    @abstractmethod
    def save(self, setting: Setting, result: Result) -> None:
        """Keep a result. Raises RopewalkError if it cannot be written."""


@dataclass(frozen=True, slots=True)
class NoStore(Store):
    """Keeps nothing: for a measurement without a folder."""

    def load(self, setting: Setting, cell: Cell) -> Measurement | None:
        return None

    def save(self, setting: Setting, result: Result) -> None:
        return None


@dataclass(frozen=True, slots=True)
class RunFolder(Store):
    """A run on disk. Make one by ``open``."""

    folder: Folder

    @classmethod
    def open(cls, path: Path, setting: Setting) -> "RunFolder":
        """Create the folder, or go on with one of the same setting.

        Raises RopewalkError if ``path`` is a file, cannot be written, or holds a run of
        another version or another setting.
        """
        return cls(Folder.open(path, setting.manifest()))

    def load(self, setting: Setting, cell: Cell) -> Measurement | None:
        stored = self.folder.load(setting.key(cell))
        try:
            return None if stored is None else _measured(stored, cell, setting)
        except (ValueError, KeyError, TypeError):
            return None

    def save(self, setting: Setting, result: Result) -> None:
        units = [
            {"document": unit.document, "window": unit.window, "values": dict(unit.values)}
            for unit in result.units
        ]
        content = {"record": result.record(), "units": units}
        self.folder.save(setting.key(result.cell), content)


def _measured(stored: Mapping[str, Any], cell: Cell, setting: Setting) -> Measurement | None:
    record = stored["record"]
    if record["status"] != "ok" or not stored["units"]:
        return None
    units = tuple(
        Unit(
            document=unit["document"],
            window=unit["window"],
            values={name: Ratio(*both) for name, both in unit["values"].items()},
        )
        for unit in stored["units"]
    )
    return Measurement(
        cell=cell,
        task=setting.task_of(cell.task),
        units=units,
        seconds=float(record["seconds"]),
        peak_memory_bytes=record["peak_memory_bytes"],
        threads=record.get("threads"),
    )
