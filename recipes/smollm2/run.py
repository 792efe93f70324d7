"""Measure every method on a real model: loss against context length, up to twice the trained one.

    python -m recipes.smollm2.run --model SmolLM2-135M-Instruct.Q4_1.gguf TEXT.txt ...

Results go to docs/results/smollm2.json; ``python -m recipes.smollm2.page`` makes the tables and
pictures of it. Without --model, on the demo model (a rehearsal).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from transformers.integrations import sdpa_attention

from recipes.evidence import Settings, measure_lines
from recipes.pages import RESULTS
from recipes.smollm2.plan import longest, plan


class Lines(Enum):
    """Which lines are measured."""

    ALL = "all"
    LONGEST = "longest"


PLANS = {Lines.ALL: plan, Lines.LONGEST: longest}


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
    with repeated_keys():
        measure_lines(model, texts, PLANS[lines], settings, out=out, results=results)


@contextmanager
def repeated_keys() -> Iterator[None]:
    """The library's attention repeats the keys of grouped heads, as it does where there is a mask.

    On CUDA in float32 it would hold all scores else: 72 GiB for eight sequences of 16,384 tokens.
    """
    usual = sdpa_attention.use_gqa_in_sdpa
    sdpa_attention.use_gqa_in_sdpa = lambda *call: False
    try:
        yield
    finally:
        sdpa_attention.use_gqa_in_sdpa = usual


if __name__ == "__main__":
    typer.run(main)
