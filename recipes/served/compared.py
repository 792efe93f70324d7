"""Losses and retrieval measured through a running server, beside the same measured here.

    bash recipes/served/install_vllm.sh runs/engines/vllm
    python -m recipes.served.compared vllm

``compare --served`` on the demo model under YaRN, started as ``export`` says. Writes
docs/results/compared-served.json.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import ropewalk as rw
from recipes.pages import RESULTS, result, write_result
from recipes.run import Lines, environment
from recipes.served.circle import server, started_as
from recipes.served.models import folder_of
from recipes.served.plan import YARN, Cell

RESULT = "compared-served"
REQUEST: dict[str, Any] = {
    # The last one leaves room for the token that a server answers with.
    "methods": (YARN,),
    "lengths": (256, 512, 1000),
    "windows": 4,
    "tasks": ("loss", "induction", "needle"),
    "trials": 4,
}


def main(
    engines: list[str],
    *,
    places: Annotated[Path, typer.Option(help="Where they are installed.")] = Path("runs/engines"),
    out: Path = Path("runs") / RESULT,
) -> None:
    """ENGINES: vllm, sglang or llama.cpp."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{RESULT}.json"
    kept = result(RESULT)["engines"] if path.exists() else {}
    model = folder_of("demo", out / "models")
    here = rw.compare(model, out=out / "here", progress=Lines(), **REQUEST).document
    for engine in engines:
        cell = Cell(part="demo", engine=engine, model="demo", served=YARN, asked=YARN, local="demo")
        start = started_as(cell, places, out)
        with server(cell, start, places, out) as url:
            document = rw.compare(
                model,
                served=url,
                engine=engine,
                timeout=300,
                out=out / engine,
                progress=Lines(),
                **REQUEST,
            ).document
        kept[engine] = list(_beside(document["cells"], here["cells"]))
        write_result({"environment": environment(None, "float32", 1), "engines": kept}, path)


def _beside(served: list[dict[str, Any]], here: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each cell what the server gave, and what this process did."""
    own = {(each.get("task"), each["length"]): each for each in here}
    for each in served:
        task = each.get("task")
        ours = own[task, each["length"]]
        yield {
            "task": task or "loss",
            "length": each["length"],
            "status": each["status"],
            "reason": each["reason"],
            "served": _nats(each),
            "here": _nats(ours),
            "served_rank_1": each.get("value"),
            "here_rank_1": ours.get("value"),
        }


def _nats(cell: dict[str, Any]) -> float | None:
    """A token's, of the text; or of the answer, teacher forced."""
    if cell["status"] != "ok":
        return None
    return float(cell["forced"]["loss"] if "task" in cell else cell["nll"])


if __name__ == "__main__":
    typer.run(main)
