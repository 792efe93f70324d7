"""Words of a command line, read again: what is checked is the text that is pasted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.request import ConfigPatch


def value_of(words: Sequence[str], flag: str) -> str | None:
    """The word after ``flag``, None where it is not given."""
    values = values_of(words, flag)
    return values[-1] if values else None


def values_of(words: Sequence[str], flag: str) -> tuple[str, ...]:
    """The word after each ``flag``; RopewalkError where the last one has none."""
    places = [i for i, word in enumerate(words) if word == flag]
    if places and places[-1] + 1 == len(words):
        raise RopewalkError(f"{flag} without a value: expected one after it")
    return tuple(words[i + 1] for i in places)


def override_words(flag: str, patch: ConfigPatch) -> tuple[str, ...]:
    """``flag`` and the keys as JSON; nothing where no key is set."""
    document = patch.document()
    return (flag, json.dumps(document)) if document else ()


def patch_of(text: str | None, place: ConfigPatch) -> ConfigPatch:
    """The keys that a JSON word sets, at the place of the patch that it was written from."""
    if text is None:
        return replace(place, keys=MappingProxyType({}))
    document = json.loads(text)
    keys = document if place.section is None else document[place.section]
    return replace(place, keys=MappingProxyType(keys))
