"""Options of ``ropewalk train``."""

from pathlib import Path
from typing import Annotated

import typer

from ropewalk.cli.options import SPEC_HELP

Encodings = Annotated[
    list[str],
    typer.Option(
        "--encoding",
        metavar="SPEC",
        show_default=False,
        help=f"Repeats: one for each kind of layer, in turn. {SPEC_HELP}",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        show_default=False,
        help="Of the run, which goes on where it stopped.",
    ),
]
Windows = Annotated[
    list[int] | None,
    typer.Option(
        "--window",
        metavar="N",
        min=0,
        show_default=False,
        help="Repeats: tokens that a layer of each kind sees; 0 for all before it.",
    ),
]
Texts = Annotated[
    list[Path] | None,
    typer.Option(
        "--text",
        metavar="FILE",
        show_default=False,
        help="Repeats: what to train on; without it, the bundled book.",
    ),
]
Length = Annotated[int, typer.Option("--length", metavar="N", min=2, help="Trained length.")]
Steps = Annotated[int, typer.Option("--steps", metavar="N", min=1)]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Windows a step.")]
Decoder = Annotated[
    str,
    typer.Option(
        "--decoder",
        metavar="KEY=VALUE,...",
        show_default=False,
        help="Its shape: layers=4, width=128, heads=4, key_heads=4, qk_norm=none or rms, "
        "partial_rotary_factor=1.0 (share of a head's channels that turn).",
    ),
]
Vocabulary = Annotated[
    int,
    typer.Option(
        "--vocabulary", metavar="N", min=257, help="Entries of the tokenizer; 257 are bytes."
    ),
]
LearningRate = Annotated[float, typer.Option("--learning-rate", metavar="R", help="Peak.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N")]
