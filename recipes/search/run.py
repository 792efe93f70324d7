"""Search factors for the demo model at 8 times its length, by every way, and keep what they found.

    python -m recipes.search.run --heldout TEXT.txt ...   all ways, in turn
    python -m recipes.search.run ramp --heldout ...       one of them

Searched and chosen on the demo book; the verdict is told on the texts after --heldout. Writes
docs/results/search-demo.json. Measurements stay in the run folder, so that a search that was
stopped goes on with the same command, and the ways share what they have in common.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

import ropewalk as rw
from recipes.pages import RESULTS, result, write_result
from recipes.run import environment

LENGTH = "8x"
DOCUMENTS = (4, 4, 16)
EVALUATIONS = {"ramp": None, "evolution": 100, "cmaes": 40, "gradient": 40, "segments": 40}
"""Budgets of the ways, each on all search documents; None: to the way's own end. The published
evolution has 1,344, more than one core does in an hour."""
RESULT = "search-demo"


def main(
    ways: Annotated[list[str] | None, typer.Argument()] = None,
    *,
    heldout: Annotated[list[Path] | None, typer.Option()] = None,
    out: Path = Path("runs") / RESULT,
) -> None:
    """WAYS: which; without any, all."""
    for way in ways or EVALUATIONS:
        document = rw.search(
            None,
            LENGTH,
            heldout=heldout or (),
            out=out,
            way=way,
            evaluations=EVALUATIONS[way],
            documents=DOCUMENTS,
            progress=Lines(),
        )
        _keep(document, [path.name for path in heldout or []])
        typer.echo(f"{way}: {document['verdict']}")


class Lines:
    """A line for each tenth of a search."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, work: str, share: float) -> None:
        if int(10 * share) > self._tenth:
            self._tenth = int(10 * share)
            typer.echo(f"{share:4.0%}  {work}")


def _keep(document: dict[str, Any], heldout: list[str]) -> None:
    """Put a search beside those of other ways, without what a run folder alone has."""
    path = RESULTS / f"{RESULT}.json"
    kept = result(RESULT) if path.exists() else {"searches": {}}
    own = {key: value for key, value in document.items() if not key.startswith(("method", "run_"))}
    searches = {**kept["searches"], document["way"]: own}
    order = [way for way in EVALUATIONS if way in searches]
    write_result(
        {
            "heldout": heldout,
            "environment": environment(None, "float32", 1),
            "searches": {way: searches[way] for way in order},
        },
        path,
    )


if __name__ == "__main__":
    typer.run(main)
