"""``ropewalk tune``: fine-tune a checkpoint under a method, and save one that states it."""

from pathlib import Path
from typing import Any

import typer

from ropewalk.cli.options import Device, Json, read_length, require_files
from ropewalk.cli.output import print_json, print_table, remark
from ropewalk.cli.progress import bar
from ropewalk.cli.tune_options import (
    AtOnce,
    Batch,
    EvaluateEvery,
    Heldout,
    LearningRate,
    Lengths,
    Measured,
    Methods,
    Model,
    Out,
    Precision,
    Samplers,
    SaveEvery,
    Seconds,
    Seed,
    Steps,
    Texts,
    Trained,
    Windows,
)
from ropewalk.integrations.sources import locate

TUNE_EXAMPLES = """\b
Examples:
  ropewalk tune ./my-model --method linear:factor=4 --length 4x --text books.txt --out ./tuned
  ropewalk tune ./my-model --method yarn:factor=4 --length 16384 --text books.txt --train lora \\
      --sampler pose --budget 900 --out ./tuned
  ropewalk tune ./my-model --method abf:rope_theta=50000 --length 2x --method \\
      abf:rope_theta=200000 --length 4x --text books.txt --out ./tuned
"""


def tune(  # noqa: PLR0913 (one parameter an option)
    model: Model,
    *,
    method: Methods,
    length: Lengths,
    text: Texts,
    out: Out = Path("ropewalk-tuned"),
    heldout: Heldout = None,
    budget: Seconds = None,
    steps: Steps = None,
    sampler: Samplers = None,
    train: Trained = "full",
    batch: Batch = 4,
    at_once: AtOnce = None,
    learning_rate: LearningRate = None,
    measure: Measured = None,
    windows: Windows = None,
    evaluate_every: EvaluateEvery = None,
    save_every: SaveEvery = None,
    precision: Precision = None,
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Fine-tune a model under a method, and save a checkpoint that states it.

    Where a config.json can say the method, plain transformers and the engines compute it; where
    it cannot, ropewalk.json says it, which Ropewalk's commands and rw.load follow. What is saved
    is audited and read back before the command says that it is done.
    """
    locate(model)  # a mistyped path is answered before the heavy imports
    require_files([*text, *(heldout or [])])
    words = {
        "steps": steps or (),
        "sampler": sampler or "full",
        "parameters": train,
        "batch": batch,
        "at_once": at_once,
        "learning_rate": learning_rate,
        "lengths": [read_length(each, "--measure") for each in measure or []],
        "windows": windows,
        "evaluate_every": evaluate_every,
        "save_every": save_every,
        "precision": precision,
        "seed": seed,
    }
    lengths = [read_length(each) for each in length]
    places = {"texts": text, "heldout": heldout or (), "out": out}
    document = _tuned(model, method, lengths, budget=budget, device=device, **places, **words)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _tuned(
    model: str, methods: list[str], stage_lengths: list[int | str], **words: Any
) -> dict[str, Any]:
    from ropewalk.api.tuning import tune as run

    with bar() as told:
        return run(model, methods, stage_lengths, progress=told, **words)


def _print(document: dict[str, Any]) -> None:
    from ropewalk.training.tuning.card import tuned_table, won_back_sentence

    header, rows = tuned_table(document)
    print_table(["nats a token", *header[1:]], rows)
    if said := won_back_sentence(document["won_back"]):
        typer.echo(said)
    typer.echo(
        f"{document['checkpoint']}: {document['steps']} steps, {document['tokens']:,} tokens; "
        f"{document['stated_by']} states {document['method']}; read back, with the same logits."
    )
    for finding in document["audit"]:
        remark(f"{finding['severity']} ({', '.join(finding['engines'])}): {finding['message']}")
