"""README.md of a checkpoint folder: what it is, and how to serve it."""

from collections.abc import Mapping
from typing import Any


def model_card(document: Mapping[str, Any], *, base: str, version: str, trained: str = "") -> str:
    """Markdown with the hub's front matter.

    document  what ``export --out`` reports: method, length, engines, commands
    base      what the weights are of: a hub id, or a folder's name
    version   of the code that wrote it
    trained   what was done to these weights; empty for nothing
    """
    hub = (
        [f"base_model: {base}"] if base.count("/") == 1 and not base.startswith((".", "/")) else []
    )
    front = [
        "---",
        *hub,
        "library_name: transformers",
        "tags:",
        "- long-context",
        "- ropewalk",
        "---",
    ]
    rows = [_row(document, name, reason) for name, reason in document["engines"].items()]
    return "\n".join(
        [
            *front,
            "",
            f"# {base}, {document['method']}",
            "",
            f"The weights of {base}, {trained or 'unchanged'}, under another position encoding: "
            f"`{document['method']}`, for contexts up to {document['length']:,} tokens. "
            f"{'' if trained else 'Nothing was trained for it here. '}The licence is that of the "
            "base model.",
            "",
            "| engine | computes it | serve with |",
            "|---|---|---|",
            *rows,
            "",
            f"Checked against these releases' rules by ropewalk {version}: frequencies within "
            f"{document['checked']['inv_freq']:.1e} relative. Ask again with "
            "`ropewalk audit .` and `ropewalk inspect .`.",
            "",
        ]
    )


def _row(document: Mapping[str, Any], name: str, reason: str | None) -> str:
    command = document["commands"].get(name, "")
    shown = f"`{_cell(command)}`" if command else ""
    return f"| {name} | {'yes' if reason is None else f'no: {_cell(reason)}'} | {shown} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
