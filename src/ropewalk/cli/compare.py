"""``ropewalk compare``: methods against lengths, into a run folder."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ropewalk.cli.options import (
    MODEL_HELP,
    SPEC_HELP,
    Device,
    Dtype,
    DtypeName,
    Json,
    Model,
    read_length,
    require_files,
)
from ropewalk.cli.output import print_json, print_rich, print_table, remark
from ropewalk.cli.progress import bars
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.evaluation.folders import RUNS, default_run_folder
from ropewalk.evaluation.protocols.parameters import STRIDE, TAIL_TOKENS, WINDOWS, Flag
from ropewalk.evaluation.protocols.table import PROTOCOLS, having
from ropewalk.integrations.sources import Checkpoint, ConfigFile, HubId, locate

COMPARE_EXAMPLES = """\b
Examples:
  ropewalk compare
  ropewalk compare ./my-model --text book.txt --method none --method yarn --length 1x --length 4x
  ropewalk compare model.gguf --text book.txt --method dynamic_ntk --mode full --mode decode
"""


ProtocolName = Enum("ProtocolName", {name.upper(): name for name in PROTOCOLS})  # type: ignore[misc]
"""Names of the protocols."""
TAIL = ProtocolName("tail")


def _flag(flag: Flag) -> Any:
    """The option of a flag that some protocols have."""
    names = ", ".join(having(flag))
    return typer.Option(metavar="N", min=1, show_default=False, help=f"{flag.help} ({names}).")


Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="SPEC",
        show_default=False,
        help=f"Repeats. {SPEC_HELP} Without it, every method that needs no more than a factor. "
        "An omitted factor is the longest length over the trained length; factor=length "
        "makes it each cell's own.",
    ),
]
Lengths = Annotated[
    list[str] | None,
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="Repeats. Context length in tokens, or in trained lengths: 4096, 2x, 0.5x. "
        "Without it, 0.5x, 1x, 2x, 4x and 8x.",
    ),
]
Texts = Annotated[
    list[Path] | None,
    typer.Option(
        "--text",
        metavar="FILE",
        show_default=False,
        help="Repeats. UTF-8 text to measure on; without it, the bundled book.",
    ),
]
Protocol = Annotated[
    ProtocolName,
    typer.Option(
        help="tail: the same last tokens with ever more context before them; curve: loss by "
        "position; prefix: the first N tokens; sliding: windows of N at a stride; the others: "
        "the rule of a published script, to the letter.",
    ),
]
Modes = Annotated[
    list[str] | None,
    typer.Option(
        "--mode",
        metavar="MODE",
        show_default=False,
        help="Repeats. full (one pass; the default); stream (what decoding computes, in one "
        "pass; stream:P after a prompt of P tokens); decode (really token by token); or "
        "chunked:N (prefill in chunks of N).",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default=False,
        help=f"The run folder; an existing one is resumed. Without it, {RUNS}/<model>-<protocol>.",
    ),
]
Windows = Annotated[int | None, _flag(WINDOWS)]
TailTokens = Annotated[int | None, _flag(TAIL_TOKENS)]
Stride = Annotated[int | None, _flag(STRIDE)]
Batch = Annotated[
    int,
    typer.Option(
        metavar="B", min=1, help="Sequences of equal length in one pass: faster on a GPU."
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="SECONDS",
        min=0,
        show_default=False,
        help="Measure what fits, cheapest first; the table says what did not.",
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="TASK",
        show_default=False,
        help="Repeats. loss (the default); longppl; needle (four keys in the text), passkey, "
        "niah_single_1 and RULER's other tasks, graph_bfs, coreference, induction, key_value, "
        "...; all (docs/tasks.md).",
    ),
]
Trials = Annotated[int, typer.Option(metavar="N", min=2, help="Samples of a task's cell.")]
Bos = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="Whether a task's prompt begins with a BOS: auto (as the tokenizer does), always, "
        "never.",
    ),
]
QuestionsFile = Annotated[
    Path | None,
    typer.Option(
        "--questions",
        metavar="FILE",
        show_default=False,
        help="JSON lines with document, question and answer, for --task qa.",
    ),
]
Evaluator = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        show_default=False,
        help="Finds the key tokens of --task longppl; without it, MODEL as it ships.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the cells and estimated seconds; run nothing.")
]


def compare(  # noqa: PLR0913 (one parameter an option)
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
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Compare methods over context lengths: a table, plots and a run folder.

    Without MODEL, on the bundled demo model and book. Every finished cell is kept at once:
    an interrupted run goes on where it stopped when the same command is given again.
    """
    request = {
        "methods": method or [],
        "lengths": [read_length(one) for one in length or []],
        "texts": text or [],
        "protocol": protocol.value,
        "modes": mode or [],
        "out": out or default_run_folder(_model_name(model), protocol.value),
        "windows": windows,
        "tail_tokens": tail_tokens,
        "stride": stride,
        "dtype": dtype.value,
        "device": device,
    }
    if task:
        tasks = {"tasks": task, "trials": trials, "bos": bos, "questions": questions}
        request = {**request, **tasks, "evaluator": evaluator}
    require_files([*(text or []), *([questions] if questions else [])])
    if dry_run:
        document = _planned(model, request)
    else:
        limit = {} if budget is None else {"budget": budget}
        document = _measured(model, {**request, "batch": batch, **limit})
    if as_json:
        print_json(document)
    elif dry_run:
        _print_plan(document)
    else:
        _print_table(document)
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


def _measured(model: str | None, request: Mapping[str, Any]) -> Mapping[str, Any]:
    if (request["out"] / "run.json").is_file():
        remark(f"resuming {request['out']}: finished cells are taken from it")
    from ropewalk import api

    with bars() as progress:
        return api.compare(model, **request, progress=progress).document


def _planned(model: str | None, request: Mapping[str, Any]) -> Mapping[str, Any]:
    from ropewalk import api

    return api.plan_compare(model, **request).document


def _print_table(document: Mapping[str, Any]) -> None:
    from ropewalk.report.records import loss_records
    from ropewalk.report.table import comparison_table
    from ropewalk.report.takeaway import takeaway
    from ropewalk.report.tasks import task_tables

    if loss_records(document):
        print_rich(comparison_table(document))
        typer.echo(takeaway(document))
    for table in task_tables(document):
        print_rich(table)
    typer.echo(f"Run folder: {document['run_dir']}")


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


def _plan_text(cell: Mapping[str, Any]) -> str:
    if cell["status"] == "planned":
        return f"{cell['seconds']:,.1f}"
    return "done" if cell["status"] == "ok" else f"cannot run: {cell['reason']}"


def _require_a_cell(cells: Sequence[Mapping[str, Any]]) -> None:
    """Bad input if nothing at all could run: a script must not take that for a result."""
    if cells and all(cell["status"] in ("failed", "skipped") for cell in cells):
        raise RopewalkError(f"no cell could run: {cells[0]['reason']}")
