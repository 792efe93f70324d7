"""The version of this code, installed or not."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROJECT = Path(__file__).parents[3] / "pyproject.toml"
_UNKNOWN = "0+unknown"


def code_version() -> str:
    """Of the installed package; of a source tree that is not installed, what it would be."""
    try:
        return version("ropewalk")
    except PackageNotFoundError:
        return _source_version()


def _source_version() -> str:
    try:
        found = re.search(r'^version = "(.+)"$', _PROJECT.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return _UNKNOWN
    return found[1] if found else _UNKNOWN
