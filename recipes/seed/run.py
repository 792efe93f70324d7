"""What happens just past the trained length, on the demo model and book.

    python -m recipes.seed.run

Results go to docs/results/seed-demo.json; ``python -m recipes.seed.page`` makes the pictures.
On SmolLM2 the same lines are part of ``recipes.smollm2.run``.
"""

from pathlib import Path

import typer

from recipes.evidence import Settings, measure_lines
from recipes.pages import RESULTS
from recipes.seed.plan import plan


def main(
    *,
    out: Path = Path("runs/seed-demo"),
    results: Path = RESULTS / "seed-demo.json",
    windows: int = 16,
    tail_tokens: int = 64,
    batch: int = 16,
    minutes: float = 1e9,
) -> None:
    settings = Settings(windows=windows, tail_tokens=tail_tokens, batch=batch, minutes=minutes)
    measure_lines(None, (), plan, settings, out=out, results=results)


if __name__ == "__main__":
    typer.run(main)
