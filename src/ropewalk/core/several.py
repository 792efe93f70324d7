"""Words of which a caller may give one or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Words = str | Path | Sequence[str | Path]


def several(words: Any) -> tuple[Any, ...]:
    """One word is one of several: a name is not taken for its letters."""
    return (words,) if isinstance(words, str | int | Path) else tuple(words)
