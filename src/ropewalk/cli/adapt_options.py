"""Options of ``ropewalk adapt``."""

from pathlib import Path
from typing import Annotated

import typer

Length = Annotated[
    str,
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="To reach, in tokens or trained lengths: 16x.",
    ),
]
Texts = Annotated[
    list[Path],
    typer.Option("--text", metavar="FILE", show_default=False, help="Repeats: to train on."),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        show_default=False,
        help="A folder a stage; what stopped goes on there.",
    ),
]
Heldout = Annotated[
    list[Path] | None,
    typer.Option(
        "--heldout",
        metavar="FILE",
        show_default=False,
        help="Repeats: to search, choose and test on; without it, the bundled book.",
    ),
]
TuneLength = Annotated[
    str | None,
    typer.Option(
        "--tune-length",
        metavar="N",
        show_default=False,
        help="Of the training; an eighth of the length.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", metavar="N", min=1, show_default=False, help="Of the training."),
]
Way = Annotated[str, typer.Option("--way", metavar="WAY", help="As of search.")]
Evaluations = Annotated[
    int | None,
    typer.Option(
        "--evaluations",
        metavar="N",
        min=1,
        show_default=False,
        help="Of each search, at most.",
    ),
]
Documents = Annotated[
    tuple[int, int, int] | None,
    typer.Option("--documents", metavar="S C T", show_default=False, help="As of search."),
]
Seconds = Annotated[
    float | None,
    typer.Option("--budget", metavar="SECONDS", show_default=False, help="Of all stages together."),
]
