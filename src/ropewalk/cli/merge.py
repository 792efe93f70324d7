"""``ropewalk merge``: run folders of several machines become one."""

from pathlib import Path
from typing import Annotated

import typer

from ropewalk.cli.options import Json
from ropewalk.cli.output import print_json

MERGE_EXAMPLES = """\b
Example:
  ropewalk merge runs/first runs/second --out runs/whole
"""


def merge(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", show_default=False, help="Two or more run folders."),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False, help="The whole; by default the first."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Join run folders of compare that were measured apart, on several machines or in turn.

    They must be of one model, text, protocol and version; a folder of another setting is refused
    with what differs. A cell that several folders hold is taken from the first in which it ran.
    """
    from ropewalk.cluster.merging import merge as merged

    document = merged(run_dirs, out or run_dirs[0])
    if as_json:
        print_json(document)
        return
    cells = document["cells"]
    ran = sum(cell["status"] == "ok" for cell in cells)
    typer.echo(f"{document['run_dir']}: {ran} of {len(cells)} cells, of {len(run_dirs)} folders")
