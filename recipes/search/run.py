"""Search factors for the demo model at 8 times its length, and keep what was found.

    python -m recipes.search.run --heldout TEXT.txt ...          all searches, in turn
    python -m recipes.search.run ramp cmaes --heldout ...        some of them

Searched and chosen on the demo book; the verdict is told on the texts after --heldout. Writes
docs/results/search-demo.json. Measurements stay in the run folder, so that a search that was
stopped goes on with the same command, and the searches share what they have in common. What each
part of a schedule brings is measured by recipes/search/parts.py.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

import ropewalk as rw
from recipes.pages import RESULTS, result, write_result
from recipes.run import environment
from recipes.search.plan import DOCUMENTS, LENGTH, RUNS, SearchRun

RESULT = "search-demo"


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    *,
    heldout: Annotated[list[Path] | None, typer.Option()] = None,
    out: Path = Path("runs") / RESULT,
) -> None:
    """NAMES: of recipes/search/plan.py; without any, all."""
    for run in (run for run in RUNS if not names or run.name in names):
        document = rw.search(
            None,
            LENGTH,
            heldout=heldout or (),
            out=out,
            way=run.way,
            objective=run.objective,
            start_tokens=run.start_tokens,
            evaluations=run.evaluations,
            documents=DOCUMENTS,
            progress=Lines(),
        )
        _keep(run, document, [path.name for path in heldout or []])
        typer.echo(f"{run.name}: {document['verdict']}")


class Lines:
    """A line for each tenth of a search."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, work: str, share: float) -> None:
        if int(10 * share) > self._tenth:
            self._tenth = int(10 * share)
            typer.echo(f"{share:4.0%}  {work}")


def _keep(run: SearchRun, document: dict[str, Any], heldout: list[str]) -> None:
    """Put a search beside the others, without what a run folder alone has."""
    path = RESULTS / f"{RESULT}.json"
    kept = result(RESULT) if path.exists() else {"searches": {}}
    own = {key: value for key, value in document.items() if not key.startswith(("method", "run_"))}
    searches = {**kept["searches"], run.name: own}
    order = [each.name for each in RUNS if each.name in searches]
    write_result(
        {
            **kept,
            "heldout": heldout,
            "environment": environment(None, "float32", 1),
            "searches": {name: searches[name] for name in order},
        },
        path,
    )


if __name__ == "__main__":
    typer.run(main)
