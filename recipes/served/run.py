"""The whole circle: export, start the server with what was printed, verify, record.

    bash recipes/served/install_vllm.sh runs/engines/vllm
    bash recipes/served/install_sglang.sh runs/engines/vllm
    bash recipes/served/install_llama_cpp.sh runs/engines/llama.cpp
    python -m recipes.served.run --engine vllm --part demo
    python -m recipes.served.run --minutes 60

One server at a time. Each cell has a file in the run folder, so that the same command goes on
where it was stopped; docs/results/served.json is written anew after each.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from recipes.pages import RESULTS, write_result
from recipes.served.circle import LLAMA_CPP, measured
from recipes.served.engines import ENGINES
from recipes.served.plan import Cell, cells
from ropewalk.storage.files import write_whole


def main(
    *,
    engine: Annotated[list[str] | None, typer.Option()] = None,
    part: Annotated[list[str] | None, typer.Option()] = None,
    minutes: Annotated[float | None, typer.Option(help="Begin no cell after as many.")] = None,
    engines: Annotated[Path, typer.Option(help="Where they are installed.")] = Path("runs/engines"),
    out: Annotated[Path, typer.Option()] = Path("runs/served"),
    again: Annotated[bool, typer.Option("--again", help="Those that did not start.")] = False,
    results: Annotated[Path | None, typer.Option()] = None,
) -> None:
    begun = time.monotonic()
    for folder in ("cells", "models", "logs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for cell in _wanted(engine, part):
        file = out / "cells" / f"{cell.key}.json"
        known = json.loads(file.read_text("utf-8")) if file.exists() else None
        if known is not None and not (again and known["error"]):
            continue
        if minutes is not None and time.monotonic() - begun > 60 * minutes:
            break
        if cell.engine != LLAMA_CPP and not ENGINES[cell.engine].installed(engines):
            typer.echo(f"{cell.engine} is not in {engines}")
            continue
        record = measured(cell, engines, out)
        write_whole(file, json.dumps(record, indent=1).encode())
        typer.echo(_line(record))
        write_result(collected(out), results or RESULTS / "served.json")
    write_result(collected(out), results or RESULTS / "served.json")


def _wanted(engine: list[str] | None, part: list[str] | None) -> Iterator[Cell]:
    for cell in cells():
        if (not engine or cell.engine in engine) and (not part or cell.part in part):
            yield cell


def collected(out: Path) -> dict[str, Any]:
    """All cells of the plan in its order, those not run with null in place of a result."""
    found = []
    for cell in cells():
        file = out / "cells" / f"{cell.key}.json"
        record = json.loads(file.read_text("utf-8")) if file.exists() else None
        found.append(record or {**asdict(cell), "verdict": None, "error": None})
    return {"cells": found}


def _line(record: dict[str, Any]) -> str:
    place = ", ".join(str(record[key]) for key in ("part", "engine", "model", "served"))
    if record["error"]:
        return f"{place}: {record['error']}"
    return f"{place}: {record['verdict']} ({record['mean']:.1e}), {record['seconds']:.0f} s"


if __name__ == "__main__":
    typer.run(main)
