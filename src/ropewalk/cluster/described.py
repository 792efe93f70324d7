"""A cluster as a file describes it, for a schedule that is worked out and not run.

    {"workers": [{"count": 8, "memory": "80GB", "speed": 12.5}], "load_seconds": 40}

count         workers of one kind, each with memory of its own
memory        of each; without it, any job fits
speed         how many times as fast as this machine a worker is; 1 by default
load_seconds  until a worker has its model; 0 by default
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.cluster.placing import ENDLESS
from ropewalk.core.errors import RopewalkError
from ropewalk.core.sizes import memory_in_bytes

MOST_WORKERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Workers that are alike."""

    count: int
    memory: int = ENDLESS
    speed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What a file describes."""

    kinds: tuple[Kind, ...]
    load_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Cluster":
        """Raises RopewalkError for a file that describes no cluster."""
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RopewalkError(f"{path}: no JSON that can be read ({error})") from error
        if not isinstance(found, dict) or not isinstance(found.get("workers"), list):
            raise RopewalkError(
                f'{path}: expected {{"workers": [{{"count": 8, "memory": "80GB"}}]}}'
            )
        _known(path, found, ("workers", "load_seconds"))
        kinds = tuple(_kind(path, each) for each in found["workers"])
        workers = sum(kind.count for kind in kinds)
        if not 1 <= workers <= MOST_WORKERS:
            raise RopewalkError(f"{path}: {workers:,} workers: expected 1 to {MOST_WORKERS:,}")
        return cls(kinds=kinds, load_seconds=_number(path, found, "load_seconds", 0.0))


def _kind(path: Path, entry: Any) -> Kind:
    if not isinstance(entry, dict):
        raise RopewalkError(f"{path}: workers {entry!r:.40}: expected count, memory and speed")
    _known(path, entry, ("count", "memory", "speed"))
    count, speed = _number(path, entry, "count", 1), _number(path, entry, "speed", 1.0)
    if count != int(count) or not speed > 0:
        raise RopewalkError(
            f"{path}: {count:g} workers of speed {speed:g}: expected a whole number, and above 0"
        )
    memory = ENDLESS if "memory" not in entry else memory_in_bytes(str(entry["memory"]))
    return Kind(count=int(count), memory=memory, speed=speed)


def _number(path: Path, entry: Mapping[str, Any], name: str, default: float) -> float:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise RopewalkError(f"{path}: {name}={value!r:.40}: expected a number, 0 or more")
    return float(value)


def _known(path: Path, entry: Mapping[str, Any], names: tuple[str, ...]) -> None:
    other = sorted(set(entry) - set(names))
    if other:
        raise RopewalkError(f"{path}: unknown key {other[0]}: expected {', '.join(names)}")
