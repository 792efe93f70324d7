"""Measure the plan of a recipe: methods, modes and lengths, into one results file.

    python -m recipes.run maps
    python -m recipes.run seed
    python -m recipes.run smollm2 --model SmolLM2-135M-Instruct.Q4_1.gguf TEXT.txt ...

Without --model on the demo model, without texts on the demo book. Finished cells stay in the run
folder, so that a run that was stopped goes on with the same command.
"""

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer
from transformers.integrations import sdpa_attention

import ropewalk as rw
from recipes.maps import plan as maps
from recipes.pages import RESULTS, write_result
from recipes.seed import plan as seed
from recipes.smollm2 import plan as smollm2
from ropewalk.data import demo_model
from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.request import Line
from ropewalk.reporting.records import PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Lines for a model of a trained length; the name of results and run folder; the protocol."""

    plan: Callable[[int], Sequence[Line]]
    name: str
    windows: int
    tail_tokens: int
    batch: int


class Name(Enum):
    """Which recipe. ``smollm2-longest``: for seconds that nothing else disturbs."""

    MAPS = "maps"
    SEED = "seed"
    SMOLLM2 = "smollm2"
    LONGEST = "smollm2-longest"


RECIPES = {
    Name.MAPS: Recipe(plan=maps.plan, name="maps-demo", windows=8, tail_tokens=64, batch=4),
    Name.SEED: Recipe(plan=seed.plan, name="seed-demo", windows=16, tail_tokens=64, batch=16),
    Name.SMOLLM2: Recipe(plan=smollm2.plan, name="smollm2", windows=3, tail_tokens=1024, batch=8),
    Name.LONGEST: Recipe(
        plan=smollm2.longest, name="smollm2", windows=3, tail_tokens=1024, batch=8
    ),
}


def main(
    name: Name,
    texts: Annotated[list[Path] | None, typer.Argument()] = None,
    *,
    model: Annotated[str | None, typer.Option()] = None,
    results: Annotated[Path | None, typer.Option()] = None,
    out: Annotated[Path | None, typer.Option()] = None,
    dtype: str = "float32",
    device: Annotated[str | None, typer.Option()] = None,
    batch: Annotated[int | None, typer.Option()] = None,
    minutes: Annotated[float | None, typer.Option(help="What fits, cheapest first.")] = None,
) -> None:
    recipe = RECIPES[name]
    batch = batch or recipe.batch
    with repeated_keys():
        compared = rw.compare(
            model,
            texts=texts or (),
            lines=recipe.plan(rw.inspect(model or demo_model())["trained_length"]),
            out=out or Path("runs") / recipe.name,
            windows=recipe.windows,
            tail_tokens=recipe.tail_tokens,
            dtype=dtype,
            device=device,
            batch=batch,
            budget=None if minutes is None else 60 * minutes,
            progress=Lines(),
        )
    manifest = json.loads((compared.run_dir / "run.json").read_text("utf-8"))
    document = {
        **compared.document,
        "run_dir": f"runs/{compared.run_dir.name}",
        "baseline": PLAIN,
        "texts": [{n: each[n] for n in ("name", "tokens")} for each in manifest["documents"]],
        "environment": environment(device, dtype, batch),
    }
    write_result(document, results or RESULTS / f"{recipe.name}.json")


class Lines(Silent):
    """A line for each finished cell."""

    def finished(self, result: Result) -> None:
        record = result.record()
        named = ", ".join(
            str(record[name]) for name in ("task", "method", "mode", "length") if name in record
        )
        figure = record.get("value") if "task" in record else record["nll"]
        typer.echo(f"{named}: {record['reason'] if figure is None else format(figure, '.4f')}")


def environment(device: str | None, dtype: str, batch: int) -> dict[str, object]:
    """What figures, seconds and memory depend on."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    threads = torch.get_num_threads()
    processor = f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
    return {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else processor,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "dtype": dtype,
        "batch": batch,
    }


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
