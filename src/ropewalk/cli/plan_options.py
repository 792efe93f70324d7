"""Options of ``ropewalk plan``."""

from typing import Annotated

import typer

Length = Annotated[
    str,
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="Context length in tokens, or in trained lengths: 4096, 2x.",
    ),
]
TrainedLength = Annotated[
    int | None,
    typer.Option(
        "--trained-length",
        metavar="N",
        min=2,
        show_default=False,
        help="What the checkpoint was trained at, where its config says otherwise; tuned to, "
        "where a scaling is shipped.",
    ),
]
Batch = Annotated[
    int, typer.Option("--batch", metavar="B", min=1, help="Sequences in the key cache.")
]
CacheDtype = Annotated[
    str,
    typer.Option("--dtype", metavar="T", help="Of cached numbers: bf16, fp16, fp32, fp8, int8."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        show_default=False,
        help="Say the longest context that fits beside the weights: 24GB, 80GiB.",
    ),
]
