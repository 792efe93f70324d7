"""Files that are whole or not there."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from ropewalk.core.errors import RopewalkError


def write_whole(file: Path, content: bytes) -> Path:
    """Write beside the place, flush to the disk, and rename.

    A reader never sees half a file, whatever happens. Raises RopewalkError if it cannot be
    written.
    """
    partial = file.with_name(f".{file.name}.{uuid4().hex}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise RopewalkError(
            f"{file} cannot be written ({error.strerror}); what is finished is kept: "
            "make room or give another folder, and run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return file
