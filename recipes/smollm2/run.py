"""Measure every method on a real model: loss against context length, up to twice the trained one.

    python -m recipes.smollm2.run --model SmolLM2-135M-Instruct.Q4_1.gguf TEXT.txt ...

Results go to docs/results/smollm2.json; those of ``--lines baselines``, on a CPU with one window
of four texts, to docs/results/smollm2-cpu.json:

    python -m recipes.smollm2.run --model ... --lines baselines --device cpu --windows 1 \
        --batch 1 --out runs/smollm2-cpu --results docs/results/smollm2-cpu.json TEXT.txt ...

 ``python -m recipes.smollm2.page`` makes the tables and
pictures of it. Without --model, on the demo model (a rehearsal).
"""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from recipes.evidence import Settings, measure_lines
from recipes.pages import RESULTS
from recipes.smollm2.plan import baselines, plan


class Lines(Enum):
    """Which lines are measured."""

    ALL = "all"
    BASELINES = "baselines"


PLANS = {Lines.ALL: plan, Lines.BASELINES: baselines}


def main(
    texts: list[Path],
    *,
    model: Annotated[Path | None, typer.Option()] = None,
    lines: Lines = Lines.ALL,
    out: Path = Path("runs/smollm2"),
    results: Path = RESULTS / "smollm2.json",
    windows: int = 3,
    tail_tokens: int = 1024,
    dtype: str = "float32",
    device: Annotated[str | None, typer.Option()] = None,
    batch: int = 8,
    minutes: float = 1e9,
) -> None:
    settings = Settings(
        windows=windows,
        tail_tokens=tail_tokens,
        dtype=dtype,
        device=device,
        batch=batch,
        minutes=minutes,
    )
    measure_lines(model, texts, PLANS[lines], settings, out=out, results=results)


if __name__ == "__main__":
    typer.run(main)
