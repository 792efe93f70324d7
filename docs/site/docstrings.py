"""griffe extension: the aligned lists of our docstrings become lists of the page.

``factor  s, at least 1`` becomes ``- **factor**: s, at least 1``.
"""

import re
from typing import Any

from griffe import Extension, Object

ENTRY = re.compile(r"(\S.*?) {2,}(\S.*)")
LABEL = re.compile(r"(Source|Deviation): ")


class AlignedLists(Extension):
    """Rewrites docstrings before they are rendered."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """A docstring whose aligned lists, sources and deviations are Markdown lists."""
    lines = [line.rstrip() for line in docstring.splitlines()]
    listed, out = False, []
    for line in lines:
        entry = ENTRY.fullmatch(line)
        if entry and not line.startswith(" "):
            out += [] if listed else [""]
            out.append(f"- **{entry[1]}**: {entry[2]}")
            listed = True
        elif listed and line.startswith(" "):
            out.append(f"  {line.strip()}")
        elif LABEL.match(line):
            out += ["", LABEL.sub(r"**\1:** ", line)]
            listed = False
        else:
            out.append(line)
            listed = False
    return "\n".join(out)
