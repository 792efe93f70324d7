"""Options of ``ropewalk search``."""

from pathlib import Path
from typing import Annotated

import typer

Length = Annotated[
    str,
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="Context length in tokens, or in trained lengths: 4096, 8x.",
    ),
]
Texts = Annotated[
    list[Path] | None,
    typer.Option(
        "--text", metavar="FILE", show_default=False, help="Repeats; without it, the bundled book."
    ),
]
Heldout = Annotated[
    list[Path] | None,
    typer.Option(
        "--heldout",
        metavar="FILE",
        show_default=False,
        help="Repeats: what the verdict is told on; without it, the last part of each text.",
    ),
]
Way = Annotated[
    str,
    typer.Option(
        "--way",
        metavar="WAY",
        help="ramp: its four numbers by successive halving. cmaes: monotone splines. "
        "gradient: down the loss through the waves. evolution: LongRoPE's own. "
        "segments: divide and conquer (DCIS).",
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective",
        metavar="SUM",
        help="loss, needle (digits of a hidden number), longppl, or a sum: loss+0.5*needle.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="SECONDS",
        show_default=False,
        help="Of everything; the way ends in time.",
    ),
]
Evaluations = Annotated[
    int | None,
    typer.Option(
        "--evaluations",
        metavar="N",
        show_default=False,
        help="Of the way, each on all search documents; by default until its own end.",
    ),
]
ShortWithin = Annotated[
    float | None,
    typer.Option(
        "--short-within",
        metavar="NATS",
        show_default=False,
        help="What a schedule may cost at the trained length; by default, anything.",
    ),
]
StartTokens = Annotated[
    list[int] | None,
    typer.Option(
        "--start-tokens",
        metavar="N",
        show_default=False,
        help="Repeats: how many first positions may stay unscaled (no engine has them).",
    ),
]
Documents = Annotated[
    tuple[int, int, int] | None,
    typer.Option(
        "--documents",
        metavar="S C T",
        show_default=False,
        help="Stretches of N tokens to search, choose and test on; by default 8 8 24, or "
        "fewer where text or budget are short.",
    ),
]
TailTokens = Annotated[
    int | None,
    typer.Option(
        "--tail-tokens",
        metavar="N",
        min=1,
        show_default=False,
        help="Tokens scored at the end of each; by default a quarter of the length.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", show_default=False, help="A stopped search goes on there."
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N")]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Documents at once.")]
