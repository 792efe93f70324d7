"""compare and perplexity: methods against lengths, of a checkpoint or of a loaded model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ropewalk.api.checkpoints import CheckpointSource, ModelInMemory, identity, open_checkpoint
from ropewalk.api.tasks import long_perplexity, retrieval_tasks, write_samples
from ropewalk.configs.shape import read_model
from ropewalk.data import demo_book
from ropewalk.evaluation.budget import Budget
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.documents import Document, Tokenizer
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.folders import default_run_folder
from ropewalk.evaluation.measure import dry_run, measure
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.request import Request, read_tasks
from ropewalk.evaluation.run import Run
from ropewalk.evaluation.runs import NoStore, RunFolder
from ropewalk.evaluation.tasks.longppl import LONGPPL
from ropewalk.evaluation.tasks.retrieval import TRIALS
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import config_of, native_of
from ropewalk.report.files import write_csv, write_json
from ropewalk.report.plots import write_curves
from ropewalk.report.records import PLAIN, loss_records


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
    budget: float | None = None,
    **request: Any,
) -> CompareResult:
    """Methods against lengths, into a run folder: cells, tables and pictures.

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    out       the run folder; an existing one is resumed
    batch     sequences of equal length that go through the model at once
    budget    seconds, loading included: the cheapest cells come first, and those that do not fit
              stand in the result with that reason
    request   the other flags of ``ropewalk compare --help``; what is missing is chosen from the
              model. ``lines`` (``ropewalk.evaluation.request.Line``) instead of methods, lengths
              and modes: each method has its own lengths

    Raises RopewalkError for bad input, before anything is measured; a cell that cannot run
    stands in the result with its reason.
    """
    begun = time.monotonic()
    checkpoint, whole = _prepared(source, **request)
    run, run_dir = whole.in_parts(batch), _run_dir(whole, out)
    parts = measure(
        run.setting,
        run.series,
        checkpoint,
        RunFolder.open(run_dir, run.setting),
        executor=executor,
        progress=progress,
        batch=batch,
        budget=None if budget is None else Budget(budget, begun, _cost_model(run, checkpoint)),
    )
    results = run.merged(parts)
    document = run.document([result.record() for result in results], run_dir)
    document["differences"] = differences(results, _baseline(run))
    write_json(document, run_dir)
    write_csv(document, run_dir)
    write_samples(whole.setting.others, results, run_dir)
    if any(record["status"] == "ok" for record in loss_records(document)):
        write_curves(document, run_dir)
    return CompareResult(document=document, run_dir=run_dir)


def plan_compare(
    source: str | Path | None = None, *, out: str | Path | None = None, **request: Any
) -> CompareResult:
    """What ``compare`` would do: its cells, done or with estimated seconds. Writes nothing."""
    checkpoint, whole = _prepared(source, **request)
    run, run_dir = whole.in_parts(1), _run_dir(whole, out)
    exists = (run_dir / "run.json").is_file()
    store = RunFolder.open(run_dir, run.setting) if exists else NoStore()
    cells = dry_run(run.setting, run.series, checkpoint, store, _cost_model(run, checkpoint))
    document = run.document([cell.record() for cell in run.merged(cells)], run_dir)
    return CompareResult(document=document, run_dir=run_dir)


def perplexity(
    model: nn.Module,
    documents: Sequence[str | Tensor],
    lengths: Sequence[int],
    *,
    methods: Sequence[str] = ("native",),
    protocol: str = "tail",
    modes: Sequence[str] = ("full",),
    tokenizer: Tokenizer | None = None,
    windows: int | None = None,
    tail_tokens: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
    batch: int = 1,
) -> list[Record]:
    """Loss of a transformers model against context length, without a run folder.

    documents  texts (needs ``tokenizer``), or token ids int64 ``[n]`` (no bits per byte)
    batch      sequences of equal length that go through the model at once

    Returns one record a cell, as in ``compare``. Raises RopewalkError for bad input.
    """
    request = Request(
        methods=methods,
        lengths=lengths,
        modes=modes,
        protocol=protocol,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
    )
    run = _run_of(
        model,
        request,
        name=type(model).__name__,
        weights="not kept",
        documents=tuple(
            Document.given(f"document {number}", each, tokenizer)
            for number, each in enumerate(documents, start=1)
        ),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
    )
    results = measure(
        run.setting, run.series, ModelInMemory(model), NoStore(), progress=progress, batch=batch
    )
    return [result.record() for result in results]


def _prepared(
    source: str | Path | None,
    *,
    texts: Sequence[Path] = (),
    dtype: str = "float32",
    device: str | None = None,
    trials: int = TRIALS,
    bos: str = "auto",
    questions: Path | None = None,
    evaluator: str | Path | None = None,
    **words: Any,
) -> tuple[CheckpointSource, Run]:
    request = Request(**words)
    request.check()
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    tokenizer = loaded.require_tokenizer()
    run = _run_of(
        loaded.model,
        request,
        name=loaded.name,
        weights=identity(loaded),
        documents=tuple(Document.read(text, tokenizer) for text in texts or [demo_book()]),
        others=retrieval_tasks(
            request.tasks,
            tokenizer,
            texts or [demo_book()],
            trials=trials,
            bos=bos,
            questions=questions,
        ),
        dtype=dtype,
    )
    if LONGPPL.name in read_tasks(request.tasks):
        by = loaded if evaluator is None else open_checkpoint(evaluator, dtype=dtype, device=device)
        run = run.with_task(long_perplexity(run.setting, by, texts or [demo_book()]))
    return CheckpointSource(place=source, dtype=dtype, device=device, loaded=loaded), run


def _run_of(model: nn.Module, request: Request, **setting: Any) -> Run:
    rope = read_model(config_of(model)).rope()
    return Run.of(request, rope.geometry(), native_of(model), **setting)


def _cost_model(run: Run, checkpoint: CheckpointSource) -> CostModel:
    return run.cost_model(TransformersScorer(checkpoint.open().model))


def _baseline(run: Run) -> str:
    """What differences compare with: plain RoPE, or else the first method."""
    texts = [each.method.text for each in run.series]
    return PLAIN if PLAIN in texts else texts[0]


def _run_dir(run: Run, out: str | Path | None) -> Path:
    return Path(out or default_run_folder(run.setting.model, run.setting.protocol.name))
