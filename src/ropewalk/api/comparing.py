"""compare: methods against lengths on one checkpoint, into a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.api.checkpoints import identity, open_checkpoint
from ropewalk.api.comparison import Comparison, comparison_of
from ropewalk.api.request import check_words, read_documents
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.folders import default_run_folder
from ropewalk.evaluation.measure import plan
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.runs import RunFolder, Unsaved
from ropewalk.report.files import write_csv, write_json
from ropewalk.report.plots import write_curves


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareResult:
    """A finished comparison.

    document  what ``ropewalk compare --json`` prints
    run_dir   the run folder
    """

    document: dict[str, Any]
    run_dir: Path

    @property
    def records(self) -> list[Record]:
        """One record a cell."""
        return list(self.document["cells"])


def compare(
    source: str | Path | None = None,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    batch: int = 1,
    **request: Any,
) -> CompareResult:
    """Methods against lengths, into a run folder: cells, tables and pictures.

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    out       the run folder; an existing one is resumed
    batch     sequences of equal length that go through the model at once
    request   methods, lengths, texts, protocol, modes, windows, tail_tokens, stride, dtype,
              device, as in ``ropewalk compare --help``; what is missing is chosen from the model

    Raises RopewalkError for bad input, before anything is measured; a cell that cannot run
    stands in the result with its reason.
    """
    comparison = _prepare(source, **request)
    run_dir = _run_dir(comparison, out)
    store = RunFolder.open(run_dir, comparison.setting)
    results = comparison.measured(store, executor=executor, progress=progress, batch=batch)
    document = comparison.document([result.record() for result in results], run_dir)
    document["differences"] = differences(results, comparison.baseline)
    write_json(document, run_dir)
    write_csv(document, run_dir)
    if any(record["status"] == "ok" for record in document["cells"]):
        write_curves(document, run_dir)
    return CompareResult(document=document, run_dir=run_dir)


def plan_compare(
    source: str | Path | None = None, *, out: str | Path | None = None, **request: Any
) -> CompareResult:
    """What ``compare`` would do: its cells, done or with estimated seconds. Writes nothing."""
    comparison = _prepare(source, **request)
    run_dir = _run_dir(comparison, out)
    exists = (run_dir / "run.json").is_file()
    store = RunFolder.open(run_dir, comparison.setting) if exists else Unsaved()
    cells = plan(comparison.setting, comparison.series, store, comparison.timed())
    document = comparison.document([cell.record() for cell in cells], run_dir)
    return CompareResult(document=document, run_dir=run_dir)


def _run_dir(comparison: Comparison, out: str | Path | None) -> Path:
    setting = comparison.setting
    return Path(out or default_run_folder(setting.model, setting.protocol.name))


def _prepare(
    source: str | Path | None,
    *,
    texts: Sequence[Path] = (),
    dtype: str = "float32",
    device: str | None = None,
    **request: Any,
) -> Comparison:
    check_words(request.get("methods", ()), request.get("modes", ()))
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    documents = read_documents(texts, loaded.require_tokenizer())
    return comparison_of(
        loaded.model,
        name=loaded.name,
        weights=identity(loaded),
        documents=documents,
        dtype=dtype,
        **request,
    )
