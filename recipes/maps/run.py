"""Position maps on the demo model and book, up to eight times the trained length.

    python -m recipes.maps.run

Results go to docs/results/maps-demo.json; ``python -m recipes.maps.page`` makes the table.
"""

from pathlib import Path

import typer

from recipes.evidence import Settings, measure_lines
from recipes.maps.plan import plan
from recipes.pages import RESULTS


def main(
    *,
    out: Path = Path("runs/maps-demo"),
    results: Path = RESULTS / "maps-demo.json",
    windows: int = 8,
    tail_tokens: int = 64,
    batch: int = 4,
    minutes: float = 1e9,
) -> None:
    settings = Settings(windows=windows, tail_tokens=tail_tokens, batch=batch, minutes=minutes)
    measure_lines(None, (), plan, settings, out=out, results=results)


if __name__ == "__main__":
    typer.run(main)
