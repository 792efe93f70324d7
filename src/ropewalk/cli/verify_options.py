"""Options of ``ropewalk verify`` alone."""

from pathlib import Path
from typing import Annotated

import typer

from ropewalk.cli.options import SPEC_HELP

Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="SPEC",
        show_default=False,
        help=f"Repeats. {SPEC_HELP} Without it, the model's own encoding, every method that "
        "needs no more than a factor, and two that depend on the path. An omitted factor is "
        "the length over the trained length.",
    ),
]
Stock = Annotated[
    bool, typer.Option("--stock", help="Check the library's own path, without any method.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default=False,
        help="Keep the figures of each method in this run folder; an existing one is resumed.",
    ),
]
Served = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        show_default=False,
        help="Ask a running server instead: which method it computes, against MODEL here, by "
        "position. --method then says what it should compute, by default what the config "
        "says; --out gets served.json and a picture.",
    ),
]
