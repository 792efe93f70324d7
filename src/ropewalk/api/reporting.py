"""report: run folders as a page, a model card, a table of columns, or results of the harness."""

from collections.abc import Sequence
from pathlib import Path

from ropewalk.comparing.result import CompareResult
from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.card import card
from ropewalk.reporting.formats import write_runs
from ropewalk.reporting.lm_eval import write_lm_eval
from ropewalk.reporting.run_record import RunRecord

Runs = str | Path | CompareResult | Sequence[str | Path | CompareResult]


def report(runs: Runs, out: str | Path) -> Path:
    """Write what runs of ``compare`` found, in the format that the ending of ``out`` names.

    runs  a run folder, what ``compare`` returned, or several of them
    out   ``.html``: one page that needs nothing but itself; ``.md``: Markdown for a model card;
          ``.parquet``: one row a cell

    Returns the file. Raises RopewalkError for what is no run folder, another ending, a page
    larger than 1 MB, a missing optional package (named with its extra), or a file that cannot be
    written.
    """
    return write_runs(read_runs(runs), Path(out))


def markdown(runs: Runs) -> str:
    """The Markdown of a model card. Raises RopewalkError for what is no run folder."""
    return card(read_runs(runs))


def report_lm_eval(runs: Runs, folder: str | Path) -> list[Path]:
    """Write task cells as lm-evaluation-harness writes its results: a file for each method.

    Raises RopewalkError for what is no run folder, a run without measured tasks, two of one model
    and method whose folders have one name, or a file that cannot be written.
    """
    return write_lm_eval(read_runs(runs), Path(folder))


def read_runs(runs: Runs) -> list[RunRecord]:
    """Raises RopewalkError for what is no run folder, and without any."""
    several = [runs] if isinstance(runs, str | Path | CompareResult) else list(runs)
    if not several:
        raise RopewalkError("no run: expected at least one run folder of compare")
    places = [run.run_dir if isinstance(run, CompareResult) else Path(run) for run in several]
    return [RunRecord.read(place) for place in places]
