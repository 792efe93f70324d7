"""docs/population.md, from the committed result."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recipes.population.readings import NOT_BUILT, REFUSED, RIGHT, WRONG

DOCS = Path(__file__).parents[2] / "docs"
RESULT, PAGE = DOCS / "results" / "population.json", DOCS / "population.md"
MEMORY = DOCS / "results" / "memory.json"
_MEANING = {
    RIGHT: "frequencies and attention factor are those of the library's module; where it builds "
    "none, nothing rotates",
    REFUSED: "an error in one line, listed below",
    WRONG: "other numbers than the library's, listed below",
    NOT_BUILT: "the library does not build its own default config, listed below",
}


def page(document: Mapping[str, Any], memory: Mapping[str, Any]) -> str:
    """The whole page."""
    return "\n".join((*_lines(document), *_memory(memory)))


def _memory(memory: Mapping[str, Any]) -> Iterator[str]:
    families = memory["families"]
    counts = Counter(row["status"] for row in families.values())
    yield "## Memory"
    yield ""
    yield (
        f"The key cache of `plan`, layer by layer, for all {len(families)} causal families of "
        f"transformers {memory['transformers']}: a tiny model of each runs, and its cache is "
        "counted. A window may hold one token less than it sees. Made by `python -m "
        "recipes.population.memory`; the numbers are in [memory.json](results/memory.json)."
    )
    yield ""
    yield "| | families | |"
    yield "|---|---|---|"
    yield f"| {RIGHT} | {counts[RIGHT]} | every layer keeps the numbers that the library's keeps |"
    yield f"| {REFUSED} | {counts[REFUSED]} | an error in one line, listed below |"
    yield f"| {WRONG} | {counts[WRONG]} | other numbers, listed below |"
    yield f"| {NOT_BUILT} | {counts[NOT_BUILT]} | no tiny model, or no cache with layers |"
    yield ""
    yield "| model type | | why |"
    yield "|---|---|---|"
    for name, row in families.items():
        if row["status"] != RIGHT:
            reason = _cell(row.get("reason") or f"{row['held']}, counted {row['counted']}")
            yield f"| `{name}` | {row['status']} | {reason} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_")


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
        reason = _cell(row["reason"])
        names = (row["model_type"], row["rope_type"], row["layer_type"] or "")
        cells = " | ".join(f"`{name}`" if name else "" for name in names)
        yield f"| {cells} | {row['status']} | {reason} |"
    yield ""
