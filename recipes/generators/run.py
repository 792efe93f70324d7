"""How fast samples of 4,096 tokens are made, into docs/results/generators.json.

    python -m recipes.generators.run

Each generator alone, in CPU seconds of one core: making samples keeps one core busy, so that two
make twice as many.
"""

import time
from typing import Any

import typer
from transformers import AutoTokenizer

from recipes.pages import RESULTS, write_result
from recipes.run import environment
from ropewalk.data import demo_book, demo_model
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.table import GENERATORS, Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens

LENGTH, SECONDS, CORES = 4096, 2.0, 2


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo_model())
    materials = Materials(tokens=Tokens.of(tokenizer), texts=[demo_book().read_text("utf-8")])
    rows = [measured(name, materials) for name in GENERATORS if name != "qa"]
    document = {"length": LENGTH, "cores": CORES, "environment": environment(None, "-", 1)}
    write_result({**document, "generators": rows}, RESULTS / "generators.json")


def measured(name: str, materials: Materials) -> dict[str, Any]:
    """Samples a minute on ``CORES`` cores, after the first."""
    made = generator(name, materials)
    made.sample(place(0), materials.tokens)
    count, started = 0, time.process_time()
    while (seconds := time.process_time() - started) < SECONDS:
        count += 1
        made.sample(place(count), materials.tokens)
    rate = 60 * CORES * count / seconds
    typer.echo(f"{name}: {rate:,.0f} a minute")
    return {"name": name, "samples": count, "cpu_seconds": seconds, "samples_a_minute": rate}


def place(trial: int) -> Place:
    """Depths in turn."""
    return Place(length=LENGTH, depth=trial % 20 / 20, seed=0, trial=trial)


if __name__ == "__main__":
    typer.run(main)
