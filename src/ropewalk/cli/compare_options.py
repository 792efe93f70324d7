"""Options of ``ropewalk compare``."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ropewalk.cli.options import SPEC_HELP
from ropewalk.evaluation.folders import RUNS
from ropewalk.evaluation.protocols.parameters import STRIDE, TAIL_TOKENS, WINDOWS, Flag
from ropewalk.evaluation.protocols.table import PROTOCOLS, having

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
        help=f"Repeats. {SPEC_HELP} Without it, every method that needs no more than a factor, or "
        "those that end within five minutes here. "
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
        "Without it, 0.5x, 1x, 2x, 4x and 8x, as far as they end within five minutes here.",
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
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        show_default=False,
        help="Of --dry-run with --executor ray: a JSON file that describes a cluster; how long it "
        "would take there.",
    ),
]
Served = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        show_default=False,
        help="Measure a running server of MODEL instead, whose config and tokenizer are read here: "
        "it computes the one method that it was started with, which --method may name.",
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
        help="Repeats. loss (the default, and of the bundled models induction); longppl; needle "
        "(four keys in the text), passkey, niah_single_1 and RULER's other tasks, graph_bfs, "
        "coreference, induction, key_value, ...; all (docs/tasks.md).",
    ),
]
Trials = Annotated[int, typer.Option(metavar="N", min=2, help="Samples of a task's cell.")]
Bos = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="Whether a window or a prompt begins with a BOS: auto (as the tokenizer does), "
        "always, never.",
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
