"""compare: methods against lengths on one checkpoint, into a run folder."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ropewalk.api.comparison import Comparison, comparison_of
from ropewalk.api.request import (
    DEFAULT_WINDOWS,
    check_words,
    read_documents,
)
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.measure import measure, plan
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.runs import RunFolder, Unsaved
from ropewalk.integrations.loading import LoadedModel, load_model
from ropewalk.report.files import write_csv, write_json
from ropewalk.report.plots import write_curves

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
RUNS = Path("ropewalk-runs")
_VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


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
    out: Path | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    **request: Any,
) -> CompareResult:
    """Methods against lengths, into a run folder: cells, tables and pictures.

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    out       the run folder; an existing one is resumed
    request   methods, lengths, texts, protocol, modes, windows, tail_tokens, stride, dtype, as
              in ``ropewalk compare --help``; what is missing is chosen from the model

    Raises RopewalkError for bad input, before anything is measured; a cell that cannot run
    stands in the result with its reason.
    """
    comparison = _prepare(source, **request)
    run_dir = out or default_run_dir(comparison)
    store = RunFolder.open(run_dir, comparison.setting)
    results = measure(
        comparison.setting,
        comparison.series,
        comparison.open_model,
        store,
        executor=executor,
        progress=progress,
    )
    document = comparison.document([result.record() for result in results], run_dir)
    document["differences"] = differences(results, comparison.baseline)
    write_json(document, run_dir)
    write_csv(document, run_dir)
    if any(record["status"] == "ok" for record in document["cells"]):
        write_curves(document, run_dir)
    return CompareResult(document=document, run_dir=run_dir)


def plan_compare(
    source: str | Path | None = None, *, out: Path | None = None, **request: Any
) -> CompareResult:
    """What ``compare`` would do: its cells, done or with estimated seconds. Writes nothing."""
    comparison = _prepare(source, **request)
    run_dir = out or default_run_dir(comparison)
    exists = (run_dir / "run.json").is_file()
    store = RunFolder.open(run_dir, comparison.setting) if exists else Unsaved()
    cells = plan(comparison.setting, comparison.series, store, comparison.timed())
    document = comparison.document([cell.record() for cell in cells], run_dir)
    return CompareResult(document=document, run_dir=run_dir)


def _prepare(
    source: str | Path | None,
    *,
    texts: Sequence[Path] = (),
    dtype: str = "float32",
    windows: int | None = None,
    **request: Any,
) -> Comparison:
    if dtype not in DTYPES:
        raise RopewalkError(f"dtype {dtype}: expected one of {', '.join(DTYPES)}")
    check_words(request.get("methods", ()), request.get("modes", ()))
    loaded = load_model(source or demo_model(), dtype=DTYPES[dtype])
    documents = read_documents(texts, loaded.require_tokenizer())
    return comparison_of(
        loaded.model,
        name=loaded.name,
        weights=_identity(loaded),
        documents=documents,
        dtype=dtype,
        windows=DEFAULT_WINDOWS if windows is None else windows,
        **request,
    )


def default_run_dir(comparison: Comparison) -> Path:
    """``ropewalk-runs/<model>-<protocol>`` in the working folder."""
    setting = comparison.setting
    return RUNS / f"{setting.model.replace('/', '--')}-{setting.protocol.name}"


def _identity(loaded: LoadedModel) -> str:
    """Weights and config together: the same weights under another config are another model."""
    config = {key: value for key, value in loaded.config.items() if key not in _VOLATILE}
    text = loaded.fingerprint + json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
