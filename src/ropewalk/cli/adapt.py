"""``ropewalk adapt``: search, tune, search again, a short list."""

from pathlib import Path
from typing import Annotated

import typer

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
    length: Annotated[
        str,
        typer.Option(
            metavar="N", show_default=False, help="To reach, in tokens or trained lengths: 16x."
        ),
    ],
    text: Annotated[
        list[Path], typer.Option(metavar="FILE", show_default=False, help="Repeats: to train on.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", show_default=False, help="A folder a stage; what stopped goes on there."
        ),
    ],
    heldout: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Repeats: to search, choose and test on; without it, the bundled book.",
        ),
    ] = None,
    tune_length: Annotated[
        str | None,
        typer.Option(
            metavar="N", show_default=False, help="Of the training; an eighth of the length."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, show_default=False, help="Of the training.")
    ] = None,
    way: Annotated[str, typer.Option(metavar="WAY", help="As of search.")] = "ramp",
    evaluations: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, show_default=False, help="Of each search, at most."),
    ] = None,
    documents: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="S C T", show_default=False, help="As of search."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", show_default=False, help="Of all stages together."),
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Search factors, tune with them, search again for longer, and add a list for short texts."""
    require_files([*text, *(heldout or [])])
    tokens, tuned = read_length(length), None if tune_length is None else read_length(tune_length)
    from ropewalk.api.adapting import adapt as run
    from ropewalk.reporting.searches import effect_rows

    with bar() as told:
        document = run(
            model,
            tokens,
            texts=text,
            out=out,
            heldout=heldout or (),
            tune_length=tuned,
            steps=steps,
            budget=budget,
            device=device,
            progress=told,
            way=way,
            evaluations=evaluations,
            documents=documents,
        )
    if as_json:
        print_json(document)
        return
    header, rows = effect_rows(document)
    print_table(header, rows)
    for stage, verdict in document["stages"].items():
        typer.echo(f"{stage}: {verdict}")
    typer.echo(f"Checkpoint: {document['checkpoint']}")
