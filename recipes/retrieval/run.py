"""What methods do to retrieval, into docs/results/retrieval-toy.json or retrieval-smollm2.json.

    python -m recipes.retrieval.run
    python -m recipes.retrieval.run --model SmolLM2-135M-Instruct.Q4_1.gguf --minutes 20

Without --model the toy model. Finished cells stay in the run folder; with --minutes what fits is
measured, the cheapest first, and the same command goes on from there.
"""

from pathlib import Path
from typing import Annotated

import typer

import ropewalk as rw
from recipes.pages import RESULTS, write_result
from recipes.retrieval.plan import REAL, TOY
from recipes.run import Lines, environment
from ropewalk.data import toy_model
from ropewalk.reporting.records import PLAIN


def main(
    *,
    model: Annotated[str | None, typer.Option()] = None,
    text: Annotated[list[Path] | None, typer.Option()] = None,
    minutes: Annotated[float | None, typer.Option(help="What fits, cheapest first.")] = None,
    out: Annotated[Path | None, typer.Option()] = None,
    results: Annotated[Path | None, typer.Option()] = None,
) -> None:
    plan, name = (TOY, "retrieval-toy") if model is None else (REAL, "retrieval-smollm2")
    compared = rw.compare(
        model or toy_model(),
        texts=text or (),
        lines=plan.lines,
        tasks=plan.tasks,
        trials=plan.trials,
        batch=plan.batch,
        windows=plan.windows,
        tail_tokens=plan.tail_tokens,
        budget=None if minutes is None else 60 * minutes,
        out=out or Path("runs") / name,
        progress=Lines(),
    )
    document = {
        **compared.document,
        "run_dir": f"runs/{name}",
        "baseline": PLAIN,
        "environment": environment(None, "float32", plan.batch),
    }
    write_result(document, results or RESULTS / f"{name}.json")


if __name__ == "__main__":
    typer.run(main)
