"""Memory that a piece of work may still take on this machine."""

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """Bytes that can be had without a process being killed; None where the system tells nothing.

    The least of what the system has available and of what the limit of a container leaves.
    """
    known = [each for each in (_of_the_system(), _of_the_container()) if each is not None]
    return min(known, default=None)


def _of_the_system() -> int | None:
    try:
        lines = _MEMINFO.read_text("ascii").splitlines()
    except OSError:
        return None
    kibibytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kibibytes[0]) * 1024 if kibibytes else None


def _of_the_container() -> int | None:
    try:
        limit = (_GROUP / "memory.max").read_text("ascii").strip()
        used = (_GROUP / "memory.current").read_text("ascii").strip()
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdecimal() and used.isdecimal() else None
