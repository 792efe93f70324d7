"""``ropewalk search``: factors for LongRoPE's lists, against the fixed schedules."""

from pathlib import Path
from typing import Annotated

import typer

from ropewalk.cli.options import Device, Dtype, DtypeName, Json, Model, read_length, require_files
from ropewalk.cli.output import print_json, print_table
from ropewalk.cli.progress import bar

SEARCH_EXAMPLES = """\b
Examples:
  ropewalk search --length 8x --budget 300 --out ./found
  ropewalk search ./model --length 32768 --text a.txt --heldout b.txt --way cmaes
"""


def search(  # noqa: PLR0913 (one parameter an option)
    model: Model = None,
    *,
    length: Annotated[
        str,
        typer.Option(
            "--length",
            metavar="N",
            show_default=False,
            help="Context length in tokens, or in trained lengths: 4096, 8x.",
        ),
    ],
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", show_default=False, help="Repeats; without it, the bundled book."
        ),
    ] = None,
    heldout: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Repeats: what the verdict is told on; without it, the last part of each text.",
        ),
    ] = None,
    way: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="ramp: its four numbers by successive halving. cmaes: monotone splines. "
            "gradient: down the loss through the waves. evolution: LongRoPE's own. "
            "segments: divide and conquer (DCIS).",
        ),
    ] = "ramp",
    objective: Annotated[
        str,
        typer.Option(
            metavar="SUM",
            help="loss, needle (digits of a hidden number), longppl, or a sum: loss+0.5*needle.",
        ),
    ] = "loss",
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", show_default=False, help="Of everything; the way ends in time."
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Of the way, each on all search documents; by default until its own end.",
        ),
    ] = None,
    short_within: Annotated[
        float | None,
        typer.Option(
            metavar="NATS",
            show_default=False,
            help="What a schedule may cost at the trained length; by default, anything.",
        ),
    ] = None,
    start_tokens: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Repeats: how many first positions may stay unscaled (no engine has them).",
        ),
    ] = None,
    documents: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            metavar="S C T",
            show_default=False,
            help="Stretches of N tokens to search, choose and test on; by default 8 8 24, or "
            "fewer where text or budget are short.",
        ),
    ] = None,
    tail_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default=False,
            help="Tokens scored at the end of each; by default a quarter of the length.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="A stopped search goes on there."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    dtype: Dtype = DtypeName.FLOAT32,
    device: Device = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Documents at once.")] = 1,
    as_json: Json = False,
) -> None:
    """Search factors that beat the fixed schedules on held-out documents, or say that none does."""
    require_files(text or [])
    require_files(heldout or [])
    tokens = read_length(length)
    from ropewalk.api.searching import search as run
    from ropewalk.reporting.searches import HEADER, search_rows

    with bar() as told:
        document = run(
            model,
            tokens,
            texts=text or (),
            heldout=heldout or (),
            out=out,
            budget=budget,
            dtype=dtype.value,
            device=device,
            batch=batch,
            progress=told,
            way=way,
            objective=objective,
            evaluations=evaluations,
            short_within=short_within,
            start_tokens=tuple(start_tokens or (0,)),
            documents=documents,
            tail_tokens=tail_tokens,
            seed=seed,
        )
    if as_json:
        print_json(document)
        return
    print_table(HEADER, search_rows(document))
    typer.echo(f"{document['verdict'][0].upper()}{document['verdict'][1:]}.")
    typer.echo(f"Use:   --method {document['method']}")
    typer.echo(f"Files: {document['run_dir']}")
