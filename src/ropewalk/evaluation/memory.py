"""Peak memory of a piece of work.

On CUDA the allocator keeps a high-water mark that can be reset. The operating system's own
never falls, so that it says nothing about the second cell of a run: there a thread samples
the resident size instead.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import torch

SAMPLE_SECONDS = 0.01
_STATM = Path("/proc/self/statm")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


class Peak:
    """Filled while work runs: ``peak_bytes`` above the start, None where it is unknown."""

    def __init__(self) -> None:
        self.peak_bytes: int | None = None


class MemoryMeter(ABC):
    """Watches the memory of what runs inside ``watch``."""

    @abstractmethod
    @contextmanager
    def watch(self) -> Iterator[Peak]:
        """A reading that is complete when the block ends."""


@dataclass(frozen=True, slots=True)
class ResidentMemory(MemoryMeter):
    """Peak resident bytes of this process above its level at the start.

    Sampled every 10 ms from /proc/self/statm: a shorter peak may be missed, and memory
    that was freed to the allocator before and is used again does not count. Unknown on
    systems without that file.
    """

    @contextmanager
    def watch(self) -> Iterator[Peak]:
        reading = Peak()
        before = _resident_bytes()
        if before is None:
            yield reading
            return
        reading.peak_bytes = 0
        done = Event()
        thread = Thread(target=_sample, args=(reading, before, done), daemon=True)
        thread.start()
        try:
            yield reading
        finally:
            done.set()
            thread.join()


@dataclass(frozen=True, slots=True)
class CudaMemory(MemoryMeter):
    """Peak bytes that torch's allocator gave out on a CUDA device, above its level at the start.

    Waits for the device at both ends, so that no kernel of other work is counted or timed.
    """

    device: torch.device

    @contextmanager
    def watch(self) -> Iterator[Peak]:
        reading = Peak()
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        try:
            yield reading
        finally:
            torch.cuda.synchronize(self.device)
            reading.peak_bytes = torch.cuda.max_memory_allocated(self.device) - before


def machine_memory() -> int:
    """Bytes that the processes of this machine, or of its container, may take together."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(_CGROUP.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such limit, or "max"
        return whole


def meter_of(device: torch.device) -> MemoryMeter:
    """What watches the memory of work on a device."""
    return CudaMemory(device) if device.type == "cuda" else ResidentMemory()


def _sample(reading: Peak, before: int, done: Event) -> None:
    finished = False
    while not finished:
        finished = done.wait(SAMPLE_SECONDS)
        above = (_resident_bytes() or before) - before
        reading.peak_bytes = max(reading.peak_bytes or 0, above)


def _resident_bytes() -> int | None:
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
