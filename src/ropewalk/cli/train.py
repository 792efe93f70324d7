"""``ropewalk train``: a small decoder from scratch, with any encoding."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ropewalk.cli.options import SPEC_HELP, Json
from ropewalk.cli.output import print_json
from ropewalk.cli.progress import bar

if TYPE_CHECKING:
    from ropewalk.training.trainer import StepRecord

TRAIN_EXAMPLES = """\b
Examples:
  ropewalk train --encoding alibi --out ./alibi
  ropewalk train --encoding none --window 64 --encoding nope --window 0 --out ./mixed
  ropewalk train --encoding none --decoder partial_rotary_factor=0.25 --out ./partial
"""


def train(
    *,
    encoding: Annotated[
        list[str],
        typer.Option(
            metavar="SPEC",
            show_default=False,
            help=f"Repeats: one for each kind of layer, in turn. {SPEC_HELP}",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", show_default=False, help="Of the run, which goes on where it stopped."
        ),
    ],
    window: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=0,
            show_default=False,
            help="Repeats: tokens that a layer of each kind sees; 0 for all before it.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Repeats: what to train on; without it, the bundled book.",
        ),
    ] = None,
    length: Annotated[int, typer.Option(metavar="N", min=2, help="Trained length.")] = 128,
    steps: Annotated[int, typer.Option(metavar="N", min=1)] = 500,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Windows a step.")] = 32,
    decoder: Annotated[
        str,
        typer.Option(
            metavar="KEY=VALUE,...",
            show_default=False,
            help="Its shape: layers=4, width=128, heads=4, key_heads=4, qk_norm=none or rms, "
            "partial_rotary_factor=1.0 (share of a head's channels that turn).",
        ),
    ] = "",
    vocabulary: Annotated[
        int, typer.Option(metavar="N", min=257, help="Entries of the tokenizer; 257 are bytes.")
    ] = 257,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    as_json: Json = False,
) -> None:
    """Train a small decoder with any encoding; its checkpoint is DIR/model."""
    from ropewalk.training.run import DecoderSize
    from ropewalk.training.run import train as run

    size = DecoderSize.parse(decoder)
    with bar() as told:

        def step_done(record: "StepRecord") -> None:
            told(f"step {record.step + 1}/{steps}  loss {record.loss:.3f}", record.step / steps)

        document = run(
            encoding,
            out,
            texts=text or (),
            length=length,
            steps=steps,
            batch=batch,
            windows=[each or None for each in window or (0,)],
            size=size,
            vocabulary=vocabulary,
            seed=seed,
            progress=step_done,
        )
    if as_json:
        print_json(document)
        return
    loss = "done before" if document["loss"] is None else f"loss {document['loss']:.3f}"
    typer.echo(f"{document['parameters']:,} parameters, {document['tokens']:,} tokens, {loss}")
    typer.echo(f"Checkpoint: {document['model']}")
