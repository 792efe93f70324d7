"""docs/population.md, from the committed result."""

from collections.abc import Iterator, Mapping
from typing import Any

from recipes.population.readings import NOT_BUILT, REFUSED, RIGHT, WRONG

_MEANING = {
    RIGHT: "frequencies and attention factor are those of the library's module; where it builds "
    "none, nothing rotates",
    REFUSED: "an error in one line, listed below",
    WRONG: "other numbers than the library's, listed below",
    NOT_BUILT: "the library does not build its own default config, listed below",
}


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    return "\n".join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield "# Population"
    yield ""
    yield (
        "`inspect` and the transformers column of `audit`, for all "
        f"{document['model_types']} model types of transformers {document['transformers']} with a "
        "text model: the default config, "
        "and each rope type that the type's class accepts, held against the library's own rotary "
        "modules, by layer type. Made by `python -m recipes.population.run`; the numbers are in "
        "[population.json](results/population.json)."
    )
    yield ""
    yield "| | readings | |"
    yield "|---|---|---|"
    for status, meaning in _MEANING.items():
        yield f"| {status} | {document['counts'].get(status, 0)} | {meaning} |"
    yield ""
    yield "| model type | rope type | layer type | | why |"
    yield "|---|---|---|---|---|"
    for row in document["others"]:
        reason = row["reason"].replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_")
        names = (row["model_type"], row["rope_type"], row["layer_type"] or "")
        cells = " | ".join(f"`{name}`" if name else "" for name in names)
        yield f"| {cells} | {row['status']} | {reason} |"
    yield ""
