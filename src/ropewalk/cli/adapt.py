"""``ropewalk adapt``: search, tune, search again, a short list."""

from typing import Any

import typer

from ropewalk.cli.adapt_options import (
    Documents,
    Evaluations,
    Heldout,
    Length,
    Out,
    Seconds,
    Steps,
    Texts,
    TuneLength,
    Way,
)
from ropewalk.cli.options import Device, Json, Model, read_length, require_files
from ropewalk.cli.output import print_json, print_table
from ropewalk.cli.progress import bar

ADAPT_EXAMPLES = """\b
Examples:
  ropewalk adapt ./model --length 16x --text train.txt --heldout other.txt --out ./longer
"""


def adapt(  # noqa: PLR0913 (one parameter an option)
    model: Model = None,
    *,
    length: Length,
    text: Texts,
    out: Out,
    heldout: Heldout = None,
    tune_length: TuneLength = None,
    steps: Steps = None,
    way: Way = "ramp",
    evaluations: Evaluations = None,
    documents: Documents = None,
    budget: Seconds = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Search factors, tune with them, search again for longer, and add a list for short texts."""
    require_files([*text, *(heldout or [])])
    request = {"way": way, "evaluations": evaluations, "documents": documents}
    document = _adapted(
        model,
        read_length(length),
        texts=text,
        out=out,
        heldout=heldout or (),
        tune_length=None if tune_length is None else read_length(tune_length, "--tune-length"),
        steps=steps,
        budget=budget,
        device=device,
        **request,
    )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _adapted(model: str | None, length: int | str, **words: Any) -> dict[str, Any]:
    from ropewalk.api.adapting import adapt as run

    with bar() as told:
        return run(model, length, progress=told, **words)


def _print(document: dict[str, Any]) -> None:
    from ropewalk.reporting.searches import effect_rows

    header, rows = effect_rows(document)
    print_table(header, rows)
    for stage, verdict in document["stages"].items():
        typer.echo(f"{stage}: {verdict}")
    typer.echo(f"Checkpoint: {document['checkpoint']}")
