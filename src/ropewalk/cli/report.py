"""``ropewalk report``: run folders as one page, or as files for others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ropewalk.cli.options import Json
from ropewalk.cli.output import print_json
from ropewalk.core.errors import RopewalkError

ENDINGS = (".html", ".md", ".parquet")

REPORT_EXAMPLES = """\b
Examples:
  ropewalk report ropewalk-runs/demo-tail
  ropewalk report run-a run-b --out report.html --out results.parquet
  ropewalk report run-a --markdown >> README.md
"""


Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN_DIR...", show_default=False, help="Run folders of compare."),
]
Out = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        show_default=False,
        help="Repeats. .html (one page, under 1 MB, that needs nothing but itself), .md (for a "
        "model card) or .parquet (one row a cell). Without it, report.html in the first RUN_DIR.",
    ),
]
Markdown = Annotated[
    bool,
    typer.Option(
        "--markdown", help="Print the Markdown of a model card; write only what --out asks."
    ),
]
LmEval = Annotated[
    Path | None,
    typer.Option(
        "--lm-eval",
        metavar="DIR",
        show_default=False,
        help="Write the tasks as lm-evaluation-harness writes results: a file for each method.",
    ),
]


def report(
    run_dir: Runs,
    *,
    out: Out = None,
    markdown: Markdown = False,
    lm_eval: LmEval = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page of what runs found: answer, curves, heat maps, tables, and the data."""
    _check(out or (), markdown=markdown, as_json=as_json)
    from ropewalk.api import reporting

    quiet = markdown or lm_eval is not None
    wanted = out or ([] if quiet else [run_dir[0] / "report.html"])
    files = [reporting.report(run_dir, file) for file in wanted]
    if lm_eval is not None:
        files += reporting.report_lm_eval(run_dir, lm_eval)
    if as_json:
        print_json({"runs": [str(run) for run in run_dir], "files": [str(file) for file in files]})
    elif markdown:
        typer.echo(reporting.markdown(run_dir), nl=False)
    else:
        for file in files:
            typer.echo(file)


def _check(files: Sequence[Path], *, markdown: bool, as_json: bool) -> None:
    for file in files:
        if file.suffix.lower() not in ENDINGS:
            raise RopewalkError(f"--out {file}: expected a name that ends in {', '.join(ENDINGS)}")
    if markdown and as_json:
        raise RopewalkError("--markdown with --json: both print on standard output; drop one")
