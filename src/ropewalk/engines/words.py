"""Words of a command line, read again: what is checked is the text that is pasted."""

from collections.abc import Sequence

from ropewalk.core.errors import RopewalkError


def value_of(words: Sequence[str], flag: str) -> str | None:
    """The word after ``flag``, the last one where it is given twice, None where it is not."""
    values = values_of(words, flag)
    return values[-1] if values else None


def values_of(words: Sequence[str], flag: str) -> tuple[str, ...]:
    """The word after each ``flag``; RopewalkError where the last one has none."""
    places = [i for i, word in enumerate(words) if word == flag]
    if places and places[-1] + 1 == len(words):
        raise RopewalkError(f"{flag} without a value: expected one after it")
    return tuple(words[i + 1] for i in places)
