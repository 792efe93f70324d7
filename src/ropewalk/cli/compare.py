"""``ropewalk compare``: methods against lengths, into a run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from ropewalk.cli.chosen import choice_text, duration, whole_command
from ropewalk.cli.compare_options import (
    TAIL,
    Batch,
    Bos,
    ClusterFile,
    DryRun,
    Evaluator,
    Lengths,
    Methods,
    Modes,
    Out,
    Protocol,
    QuestionsFile,
    Seconds,
    Served,
    Stride,
    TailTokens,
    Tasks,
    Texts,
    Trials,
    Windows,
)
from ropewalk.cli.options import (
    MODEL_HELP,
    Device,
    Dtype,
    DtypeName,
    Engine,
    ExecutorName,
    Json,
    Model,
    RankCount,
    Timeout,
    Workers,
    read_length,
    require_files,
)
from ropewalk.cli.output import print_json, print_rich, print_table, remark
from ropewalk.cli.progress import bars
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.evaluation.folders import default_run_folder
from ropewalk.integrations.sources import Checkpoint, ConfigFile, HubId, locate

COMPARE_EXAMPLES = """\b
Examples:
  ropewalk compare
  ropewalk compare ./my-model --text book.txt --method none --method yarn --length 1x --length 4x
  ropewalk compare model.gguf --text book.txt --method dynamic_ntk --mode full --mode decode
"""


def compare(  # noqa: PLR0913 (one parameter an option)
    context: typer.Context,
    model: Model = None,
    *,
    method: Methods = None,
    length: Lengths = None,
    text: Texts = None,
    protocol: Protocol = TAIL,
    mode: Modes = None,
    out: Out = None,
    windows: Windows = None,
    tail_tokens: TailTokens = None,
    stride: Stride = None,
    dtype: Dtype = DtypeName.FLOAT32,
    device: Device = None,
    batch: Batch = 1,
    budget: Seconds = None,
    task: Tasks = None,
    trials: Trials = 20,
    bos: Bos = "auto",
    questions: QuestionsFile = None,
    evaluator: Evaluator = None,
    executor: ExecutorName = "serial",
    workers: Workers = None,
    ranks: RankCount = 1,
    served: Served = None,
    engine: Engine = None,
    timeout: Timeout = 120.0,
    cluster: ClusterFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Compare methods over context lengths: a table, plots and a run folder.

    Without MODEL, on the bundled demo model and book; a bundled toy model shows what methods do
    to retrieval. Every finished cell is kept at once:
    an interrupted run goes on where it stopped when the same command is given again.
    """
    name = _model_name(model) + ("" if served is None else "-served")
    place = out or default_run_folder(name, protocol.value)
    require_files([*(text or []), *([questions] if questions else [])])
    request = {
        "methods": method or [],
        "lengths": [read_length(one) for one in length or []],
        "texts": text or [],
        "protocol": protocol.value,
        "modes": mode or [],
        "out": place,
        "windows": windows,
        "tail_tokens": tail_tokens,
        "stride": stride,
        "dtype": dtype.value,
        "device": device,
        "bos": bos,
        "batch": batch,
        **({} if budget is None else {"budget": budget}),
        **({} if served is None else {"served": served, "timeout": timeout}),
        **({} if engine is None else {"engine": engine}),
        **({} if cluster is None else {"cluster": cluster}),
        **({} if context.obj is None else {"ranks": context.obj}),
    }
    if task:
        tasks = {"tasks": task, "trials": trials, "questions": questions}
        request = {**request, **tasks, "evaluator": evaluator}
    on = {"text": executor, "workers": workers, "ranks": ranks}
    document = (_planned if dry_run else _measured)(model, request, on)
    if as_json:
        print_json(document)
    else:
        (_print_plan if dry_run else _print_table)(document)
        _print_choice(context, document)
    _require_a_cell(document["cells"])


def _model_name(model: str | None) -> str:
    """Names the default run folder. Raises RopewalkError if there can be no such model."""
    match locate(model or demo_model()):
        case Checkpoint(name=name):
            return name
        case HubId(repo_id=repo_id):
            return repo_id
        case ConfigFile(path=path):
            raise RopewalkError(f"{path}: a config has no weights; {MODEL_HELP} was expected")


def _measured(
    model: str | None, request: Mapping[str, Any], on: Mapping[str, Any]
) -> Mapping[str, Any]:
    """on  as ``executor_named`` takes it"""
    from ropewalk.cluster.table import executor_named

    if "cluster" in request:
        raise RopewalkError(
            f"--cluster {request['cluster']}: a described cluster is not run on; add --dry-run, or "
            "give the address of a running one: --executor ray:ADDRESS"
        )
    where = executor_named(**on)
    if (request["out"] / "run.json").is_file():
        remark(f"resuming {request['out']}: finished cells are taken from it")
    from ropewalk import api

    with bars() as progress:
        return api.compare(model, **request, executor=where, progress=progress).document


def _planned(
    model: str | None, request: Mapping[str, Any], on: Mapping[str, Any]
) -> Mapping[str, Any]:
    from ropewalk.cluster.table import executor_named

    where = executor_named(**on)  # a mistyped one is told here too
    alone = {name: value for name, value in request.items() if name != "ranks"}
    from ropewalk import api

    return api.plan_compare(model, **alone, executor=where).document


def _print_table(document: Mapping[str, Any]) -> None:
    from ropewalk.reporting.behind import behind_tables
    from ropewalk.reporting.found import retrieval_sentences
    from ropewalk.reporting.records import loss_records
    from ropewalk.reporting.table import comparison_table
    from ropewalk.reporting.takeaway import takeaway
    from ropewalk.reporting.tasks import task_tables

    if loss_records(document):
        print_rich(comparison_table(document))
        for table in behind_tables(document):
            print_rich(table)
        typer.echo(takeaway(document))
    for table in task_tables(document):
        print_rich(table)
    for sentence in retrieval_sentences(document):
        typer.echo(sentence)
    typer.echo(f"Run folder: {document['run_dir']}")


def _print_choice(context: typer.Context, document: Mapping[str, Any]) -> None:
    """What was left out, if anything was chosen, and how to measure it."""
    if (chosen := document.get("chosen")) is None:
        return
    typer.echo(f"Methods and lengths were {choice_text(chosen)}.")
    if chosen["whole"] != chosen["flags"]:
        typer.echo(f"All of them, at most about {duration(chosen['whole_seconds'])}:")
        typer.echo(f"  {whole_command(context, chosen)}")


def _print_plan(document: Mapping[str, Any]) -> None:
    cells = document["cells"]
    rows = [
        (
            cell.get("task", "loss"),
            cell["method"],
            cell["mode"],
            f"{cell['length']:,}",
            _plan_text(cell),
        )
        for cell in cells
    ]
    print_table(("task", "method", "mode", "length", "estimated seconds"), rows)
    left = [cell for cell in cells if cell["status"] == "planned"]
    seconds = sum(cell["seconds"] for cell in left)
    typer.echo(f"{len(left)} of {len(cells)} cells to run, about {seconds:,.0f} s")
    if "cluster" in document:
        _print_schedule(document["cluster"])


def _print_schedule(schedule: Mapping[str, Any]) -> None:
    """How long a described cluster takes, and what it waits for."""
    if schedule["longest"] is None:
        return
    longest = schedule["longest"]
    took = duration(longest["stop"] - longest["start"])
    typer.echo(
        f"On {schedule['workers']:,} workers: {schedule['jobs']:,} jobs in about "
        f"{duration(schedule['seconds'])}, {schedule['idle']:.0%} of their time idle; the longest "
        f"job ({longest['method']}, {longest['length']:,} tokens) takes {took}."
    )


def _plan_text(cell: Mapping[str, Any]) -> str:
    if cell["status"] == "planned":
        return f"{cell['seconds']:,.1f}"
    return "done" if cell["status"] == "ok" else f"cannot run: {cell['reason']}"


def _require_a_cell(cells: Sequence[Mapping[str, Any]]) -> None:
    """Bad input if nothing at all could run: a script must not take that for a result."""
    if cells and all(cell["status"] in ("failed", "skipped") for cell in cells):
        raise RopewalkError(f"no cell could run: {cells[0]['reason']}")
