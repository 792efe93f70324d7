"""``ropewalk train``: a small decoder from scratch, with any encoding."""

from typing import TYPE_CHECKING, Any

import typer

from ropewalk.cli.options import Json
from ropewalk.cli.output import print_json
from ropewalk.cli.progress import bar
from ropewalk.cli.train_options import (
    Batch,
    Decoder,
    Encodings,
    LearningRate,
    Length,
    Out,
    Seed,
    Steps,
    Texts,
    Vocabulary,
    Windows,
)

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
    encoding: Encodings,
    out: Out,
    window: Windows = None,
    text: Texts = None,
    length: Length = 128,
    steps: Steps = 500,
    batch: Batch = 32,
    decoder: Decoder = "",
    vocabulary: Vocabulary = 257,
    learning_rate: LearningRate = 3e-3,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train a small decoder with any encoding; its checkpoint is DIR/model."""
    from ropewalk.training.run import DecoderSize

    words = {
        "texts": text or (),
        "length": length,
        "batch": batch,
        "windows": [each or None for each in window or (0,)],
        "size": DecoderSize.parse(decoder),
        "vocabulary": vocabulary,
        "peak_lr": learning_rate,
        "seed": seed,
    }
    document = _trained(encoding, steps, out=out, **words)
    if as_json:
        print_json(document)
        return
    loss = "done before" if document["loss"] is None else f"loss {document['loss']:.3f}"
    typer.echo(f"{document['parameters']:,} parameters, {document['tokens']:,} tokens, {loss}")
    typer.echo(f"Checkpoint: {document['model']}")


def _trained(encodings: list[str], steps: int, **words: Any) -> dict[str, Any]:
    from ropewalk.training.run import train as run

    with bar() as told:

        def step_done(record: "StepRecord") -> None:
            told(f"step {record.step + 1}/{steps}  loss {record.loss:.3f}", record.step / steps)

        return run(encodings, steps=steps, progress=step_done, **words)
