"""A folder of a training is written by one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ropewalk.core.errors import RopewalkError

LOCK = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """For the length of a block, whoever else claims the folder is refused. A kill lets it go.

    Raises RopewalkError where another process has it, and for a folder that cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RopewalkError(
            f"another process is at work in {folder}: expected one at a time; wait for it, or give "
            "another --out"
        ) from error
    except OSError as error:
        raise RopewalkError(
            f"{folder} cannot be written ({error.strerror or error}): expected a folder that can "
            "be; give another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
