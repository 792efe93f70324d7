"""``ropewalk search``: factors for LongRoPE's lists, against the fixed schedules."""

import shlex
from typing import Any

import typer

from ropewalk.cli.options import (
    Device,
    Dtype,
    DtypeName,
    ExecutorName,
    Json,
    Model,
    RankCount,
    Workers,
    read_length,
    require_files,
)
from ropewalk.cli.output import print_json, print_table
from ropewalk.cli.progress import bar
from ropewalk.cli.search_options import (
    Batch,
    Documents,
    Evaluations,
    Heldout,
    Length,
    Objective,
    Out,
    Seconds,
    Seed,
    ShortWithin,
    StartTokens,
    TailTokens,
    Texts,
    Way,
)

SEARCH_EXAMPLES = """\b
Examples:
  ropewalk search --length 8x --budget 300 --out ./found
  ropewalk search ./model --length 32768 --text a.txt --heldout b.txt --way cmaes
"""


def search(  # noqa: PLR0913 (one parameter an option)
    model: Model = None,
    *,
    length: Length,
    text: Texts = None,
    heldout: Heldout = None,
    way: Way = "ramp",
    objective: Objective = "loss",
    budget: Seconds = None,
    evaluations: Evaluations = None,
    short_within: ShortWithin = None,
    start_tokens: StartTokens = None,
    documents: Documents = None,
    tail_tokens: TailTokens = None,
    out: Out = None,
    seed: Seed = 0,
    dtype: Dtype = DtypeName.FLOAT32,
    device: Device = None,
    batch: Batch = 1,
    executor: ExecutorName = "serial",
    workers: Workers = None,
    ranks: RankCount = 1,
    as_json: Json = False,
) -> None:
    """Search factors that beat the fixed schedules on held-out documents, or say that none does."""
    require_files([*(text or []), *(heldout or [])])
    request = {
        "way": way,
        "objective": objective,
        "evaluations": evaluations,
        "short_within": short_within,
        "start_tokens": tuple(start_tokens or (0,)),
        "documents": documents,
        "tail_tokens": tail_tokens,
        "seed": seed,
    }
    places = {"texts": text or (), "heldout": heldout or (), "out": out}
    where = {"dtype": dtype.value, "device": device, "batch": batch, "budget": budget}
    words = {**places, **where, **request}
    on = {"text": executor, "workers": workers, "ranks": ranks}
    document = _found(model, read_length(length), on, **words)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _found(
    model: str | None, length: int | str, on: dict[str, Any], **words: Any
) -> dict[str, Any]:
    """on  as ``executor_named`` takes it"""
    from ropewalk.cluster.table import executor_named

    where = executor_named(**on)
    from ropewalk.api.searching import search as run

    with bar() as told:
        return run(model, length, executor=where, progress=told, **words)


def _print(document: dict[str, Any]) -> None:
    from ropewalk.reporting.searches import HEADER, search_rows

    print_table(HEADER, search_rows(document))
    typer.echo(f"{document['verdict'][0].upper()}{document['verdict'][1:]}.")
    typer.echo(f"Use:   --method {_used(document)}")
    typer.echo(f"Files: {document['run_dir']}")


def _used(document: dict[str, Any]) -> str:
    """What was found; else the best fixed schedule by its own name, which is shorter."""
    if document["found"]:
        return shlex.quote(document["method"])
    return f"{document['best_fixed']}  (factors.json holds its factors)"
