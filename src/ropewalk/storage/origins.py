"""Where the results of a folder came from: machine, versions and commit, signed by each run.

    origins/<sha256>.json  one origin

A folder may be filled by several machines and by several states of the code; each leaves its
origin once.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ropewalk.storage.files import write_whole
from ropewalk.storage.version import code_version

Origin = Mapping[str, str | int | None]

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def sign(folder: Path, accelerator: str | None) -> Origin:
    """Leave the origin of this process in a folder of results, and return it.

    accelerator  name of the device that computes beside the processor; None without one

    Raises RopewalkError if it cannot be written.
    """
    own = origin(accelerator)
    text = json.dumps(own, sort_keys=True)
    name = sha256(text.encode()).hexdigest()[:16]
    write_whole(folder / "origins" / f"{name}.json", text.encode())
    return own


def origins(folder: Path) -> list[Origin]:
    """All that were left in a folder; unreadable ones are passed over."""
    found = []
    for file in sorted((folder / "origins").glob("*.json")):
        try:
            found.append(json.loads(file.read_bytes()))
        except (OSError, ValueError):
            continue
    return found


def origin(accelerator: str | None) -> Origin:
    """Machine, versions and, in a clone, the commit of the code; no name of a person or a host."""
    return {
        "ropewalk": code_version(),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory(),
        "accelerator": accelerator,
    }


def _commit() -> str | None:
    """Of the clone that this file lies in; ``+`` after it where something was changed since."""
    here = Path(__file__).parent
    head = _git(here, "rev-parse", "HEAD")
    if head is None or _git(here, "ls-files", "--error-unmatch", __file__) is None:
        return None
    return head + ("+" if _git(here, "status", "--porcelain", "-uno") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
