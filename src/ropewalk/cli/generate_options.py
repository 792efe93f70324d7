"""Options of ``ropewalk generate``."""

from pathlib import Path
from typing import Annotated

import typer

Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEXT",
        show_default=False,
        help="Text to continue; - reads standard input.",
    ),
]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        "--prompt-file", metavar="FILE", show_default=False, help="UTF-8 text to continue."
    ),
]
Chat = Annotated[
    bool,
    typer.Option("--chat", help="The prompt is a user's turn, in the model's own template."),
]
MaxNewTokens = Annotated[
    int,
    typer.Option("--max-new-tokens", metavar="N", min=1, help="Stop after this many tokens."),
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", metavar="T", min=0.0, help="0 takes the likeliest token each time."
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Seed of the sampling, at a temperature above 0.")
]
