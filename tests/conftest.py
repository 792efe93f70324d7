"""Settings of all tests."""

from collections.abc import Mapping
from dataclasses import is_dataclass

from ropewalk.cli.main import yield_waiting_threads

yield_waiting_threads()  # before torch is loaded, which reads it

import torch  # noqa: E402

torch.set_num_threads(1)  # tiny models: a second thread costs more than it computes

LONGEST_ID = 60


def pytest_make_parametrize_id(val: object) -> str | None:
    """Values say what they are in a test's id: ``float64``, ``factor=4``, ``DualChunk``."""
    text = named(val)
    # pytest names what it knows itself, and numbers what would be too long.
    return text if text and text.isascii() and len(text) <= LONGEST_ID else None


def named(value: object) -> str | None:
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, Mapping):
        return ",".join(f"{key}={plain(entry)}" for key, entry in value.items()) or "empty"
    if isinstance(value, tuple | list):
        return ",".join(plain(entry) for entry in value) or "empty"
    return type(value).__name__ if is_dataclass(value) and not isinstance(value, type) else None


def plain(value: object) -> str:
    return named(value) or str(value)
