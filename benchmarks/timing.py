"""Times of pieces of work against each other: in turn, in one process, as ratios.

Absolute times belong to a machine and an hour. A ratio of two pieces that took turns is
worth quoting, with what it depends on beside it (``machine``).
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]
Progress = Callable[[str, float], None]
"""Progress what begins, and the share of the whole that is done (0 to 1)."""


def silent(work: str, share: float) -> None:
    """Tells nothing."""


def part_of(progress: Progress, part: int, parts: int, name: str) -> Progress:
    """Tells of one of several pieces of work as its share of them all."""
    return lambda work, share: progress(f"{name}, {work}", (part + share) / parts)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of some numbers."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third, interpolated between values; of one value, the value."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    def document(self) -> dict[str, Any]:
        return {"median": self.median, "quartiles": list(self.quartiles)}


@dataclass(frozen=True, slots=True)
class Race:
    """Seconds of each contender, one number a round."""

    seconds: Mapping[str, tuple[float, ...]]

    def ratio(self, name: str, peer: str) -> Spread:
        """Time of ``name`` over that of ``peer``, round by round: drift hits both alike."""
        pairs = zip(self.seconds[name], self.seconds[peer], strict=True)
        return Spread(tuple(own / other for own, other in pairs))

    def ratios(self, peer: str) -> dict[str, Any]:
        """``ratio`` of every contender, as documents."""
        return {name: self.ratio(name, peer).document() for name in self.seconds}

    def total(self, name: str) -> float:
        """Seconds of all rounds."""
        return sum(self.seconds[name])

    def document(self) -> dict[str, Any]:
        """Median, quartiles and every timing of each contender, in seconds."""
        return {
            name: {**Spread(values).document(), "seconds": list(values)}
            for name, values in self.seconds.items()
        }


def race(
    contenders: Mapping[str, Work],
    *,
    rounds: int,
    warmups: int = 1,
    progress: Progress = silent,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Run each contender once a round, in the order given, after ``warmups`` untimed rounds.

    clock  seconds: ``time.process_time`` on a CPU that others work on too

    Every second round runs in the opposite order, so that no contender always follows the
    same one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    total = (warmups + rounds) * len(contenders)
    done = 0
    for number in range(warmups + rounds):
        order = list(contenders)
        for name in order if number % 2 == 0 else reversed(order):
            progress(name, done / total)
            elapsed = _timed(contenders[name], clock)
            done += 1
            if number >= warmups:
                seconds[name].append(elapsed)
    return Race({name: tuple(values) for name, values in seconds.items()})


def machine() -> dict[str, Any]:
    """What ratios depend on, without a name that only one machine has."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "allocator": allocator(),
    }


def allocator() -> str:
    """What hands out memory: the library that LD_PRELOAD names, else the system's own.

    Fresh memory costs a page fault every 4 KiB under an allocator that gives it back, so
    ratios of operations that do little else move with it.
    """
    preloaded = [Path(name).name for name in os.environ.get("LD_PRELOAD", "").split() if name]
    tuned = sorted(name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES")))
    system = " ".join(part for part in platform.libc_ver() if part) or platform.system()
    return ", ".join([*(preloaded or [f"{system} malloc"]), *(f"{name} set" for name in tuned)])


def _timed(work: Work, clock: Callable[[], float]) -> float:
    _finish_queued_work()
    started = clock()
    work()
    _finish_queued_work()
    return clock() - started


def _finish_queued_work() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
