"""The folder of a tuning, and its clock.

settings.json   what decides the result: another run in the same folder is refused
before.json     what was measured before
stage-1/        checkpoints and log of a stage, schedule.json, at its end weights.safetensors
result.json     the document, once the checkpoint is checked
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ropewalk.core.errors import RopewalkError
from ropewalk.core.seconds import require_seconds
from ropewalk.storage.files import write_whole

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds that are left of a budget; ``begun`` is a ``time.monotonic()``."""

    begun: float
    budget: float | None

    def __post_init__(self) -> None:
        require_seconds(self.budget)

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> float:
        """Seconds; infinite without a budget."""
        return float("inf") if self.budget is None else self.budget - self.used

    def steps(self, step_seconds: float, reserve: float, share: int) -> int:
        """Steps for one of ``share`` equal parts of what is left after ``reserve`` seconds.

        Raises RopewalkError where not one fits.
        """
        steps = int((self.left - reserve) / share / step_seconds)
        if steps < 1:
            raise RopewalkError(
                f"budget of {self.budget:g} s: {self.used:.0f} s went into loading and measuring, "
                f"{reserve:.0f} s more are needed for that, and a step takes {step_seconds:.1f} s; "
                "give more seconds, a smaller --batch, or fewer --windows"
            )
        return steps


@dataclass(frozen=True, slots=True)
class TuningFolder:
    """What a tuning keeps while it goes on."""

    path: Path

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Note the settings, or refuse a folder with those of another run."""
        text = json.dumps(settings, indent=1, sort_keys=True, default=str) + "\n"
        note = self.path / "settings.json"
        if note.exists() and note.read_bytes() != text.encode():
            found, wanted = _settings(note), json.loads(text)
            differing = (key for key in wanted if found.get(key) != wanted[key])
            name = next(differing, "of another release")
            raise RopewalkError(
                f"{self.path.parent} holds a tuning with other settings ({name}; {note}): expected "
                "the same, or a new folder"
            )
        write_whole(note, text.encode())

    def kept(self, name: str, make: Callable[[], _Found]) -> _Found:
        """What is stored under a name; made and stored where it is not there yet."""
        file = self.path / f"{name}.json"
        if file.exists():
            found: _Found = json.loads(file.read_text("utf-8"))
            return found
        made = make()
        self.keep(name, made)
        return made

    def keep(self, name: str, made: Any) -> None:
        """Store something under a name, whatever was there."""
        write_whole(self.path / f"{name}.json", (json.dumps(made, indent=1) + "\n").encode())

    def found(self, name: str) -> Any:
        """What is stored under a name, or None."""
        file = self.path / f"{name}.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def stage(self, number: int) -> "TuningFolder":
        """Of the stage of that number, from 1 on."""
        return TuningFolder(self.path / f"stage-{number}")


def _settings(note: Path) -> Mapping[str, Any]:
    """Settings that were noted; none where the note cannot be read."""
    try:
        found = json.loads(note.read_text("utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
