"""ropewalk.json: the method of a checkpoint, where config.json has no words for it.

    {"format": 1, "method": "rerope:window=128", "parts": [{"name": ..., "arguments": {...}}]}

``method`` is the spec as it was typed, for people; ``parts`` are what is read: lists stand in them
in full. Everything is said over the geometry of the config beside it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.methods.spec import NAMES, NATIVE, Part, Spec

SIDECAR = "ropewalk.json"
FORMAT = 1


def sidecar_of(spec: Spec) -> dict[str, Any]:
    """The document that states a spec."""
    parts = [{"name": part.name, "arguments": dict(part.arguments)} for part in spec.parts]
    return {"format": FORMAT, "method": spec.text, "parts": parts}


def read_sidecar(folder: Path) -> Spec | None:
    """The method that a checkpoint folder states beside its config; None where it states none.

    Raises RopewalkError for a file that is not what ``sidecar_of`` writes.
    """
    file = folder / SIDECAR
    if not file.is_file():
        return None
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RopewalkError(
            f"{file} cannot be read ({error}): expected the method of a checkpoint; save it again"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else document
        raise RopewalkError(
            f"{file}: format {found!s:.40}: expected {FORMAT}; load it with the release that wrote "
            "it, or save it again"
        )
    try:
        parts = tuple(_part(each) for each in document["parts"])
        text = document["method"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RopewalkError(f"{file} is not whole ({error!r}); save it again") from error
    if not parts or not isinstance(text, str):
        raise RopewalkError(f"{file}: no method in it; save it again")
    return Spec(text=text, parts=parts)


def in_force(spec: Spec, own: Spec | None) -> Spec:
    """``spec`` with a checkpoint's own method in the place of ``native``."""
    if own is None:
        return spec
    parts = (each for part in spec.parts for each in (own.parts if part.name == NATIVE else [part]))
    return replace(spec, parts=tuple(parts))


def _part(stated: Mapping[str, Any]) -> Part:
    name = stated["name"]
    if name not in NAMES:
        raise RopewalkError(f"{SIDECAR}: unknown method {name}: expected one of {', '.join(NAMES)}")
    part = Part(name=name)
    given = stated["arguments"].items()
    arguments = tuple((key, part.parameter(key).check(value)) for key, value in given)
    return replace(part, arguments=arguments)
