"""Write what a plan says of each method on the demo model, from committed results.

    python -m recipes.measured

Reads docs/results/demo.json and maps-demo.json; writes src/ropewalk/data/measured.json.
"""

import json
from collections.abc import Iterator

import typer

from recipes.pages import Record, at, result
from ropewalk.data import measured_methods

MULTIPLES = (1, 2, 4, 8)
FILES = ("demo", "maps-demo")
"""The first that holds a method speaks for it."""


def main() -> None:
    found: dict[str, Record] = {}
    for name, row in (row for file in FILES for row in _rows(file)):
        found.setdefault(name, row)
    measured_methods().write_text(f"{json.dumps(found, indent=1)}\n", "utf-8")


def _rows(file: str) -> Iterator[tuple[str, Record]]:
    """Methods under their default parameters, but for the step, which shows in the third digit."""
    document = result(file)
    trained = document["trained_length"]
    before = at(document["cells"], "none", "full", trained)
    for spec in dict.fromkeys(cell["method"] for cell in document["cells"]):
        cells = [at(document["cells"], spec, "full", trained * times) for times in MULTIPLES]
        name, _, arguments = spec.partition(":")
        plain = "+" not in spec and (not arguments or arguments.startswith("step="))
        if before is None or not plain or None in cells:
            continue
        nats = {
            str(times): round(cell["nll"] - before["nll"], 3)
            for times, cell in zip(MULTIPLES, cells, strict=True)
            if cell is not None
        }
        yield name, {"nats_above_trained": nats, "source": _source(file, document)}


def _source(file: str, document: Record) -> str:
    tokens = document["cells"][0]["tokens_scored"]
    return (
        f"docs/results/{file}.json: demo model, trained length {document['trained_length']}, "
        f"factor {MULTIPLES[-1]}, {tokens} tokens a cell"
    )


if __name__ == "__main__":
    typer.run(main)
