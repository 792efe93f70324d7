"""compare and perplexity: methods against lengths on one model."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.api.extending import config_of, extend_with
from ropewalk.api.request import (
    DEFAULT_WINDOWS,
    DEMO_WINDOWS,
    check_words,
    read_documents,
    read_lengths,
    read_mode,
    read_protocol,
    read_specs,
)
from ropewalk.core.config import read_rope_section
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.passes import DecodePass, FullPass, Pass, StreamPass
from ropewalk.data import demo_model
from ropewalk.evaluation.cells import CellMethod, Record, Series
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.documents import Document, Tokenizer
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.measure import measure, plan
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.protocols import OnePassPerLength, SharedPasses
from ropewalk.evaluation.runs import RunFolder, Unsaved
from ropewalk.evaluation.setting import Setting, code_version
from ropewalk.integrations.loading import LoadedModel, load_model
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.methods.from_config import encoding_from_config
from ropewalk.methods.spec import Spec
from ropewalk.methods.unscaled import none
from ropewalk.report.files import write_csv, write_json
from ropewalk.report.plots import write_curves
from ropewalk.report.records import PLAIN

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


def perplexity(
    model: nn.Module,
    documents: Sequence[str | Tensor],
    lengths: Sequence[int],
    *,
    methods: Sequence[str] = ("native",),
    protocol: str = "tail",
    modes: Sequence[str] = ("full",),
    tokenizer: Tokenizer | None = None,
    windows: int = DEFAULT_WINDOWS,
    tail_tokens: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Loss of a transformers model against context length, without a run folder.

    documents  texts (needs ``tokenizer``), or token ids int64 ``[n]`` (no bits per byte)

    Returns one record a cell, as in ``compare``. Raises RopewalkError for bad input.
    """
    texts = tuple(_document(number, each, tokenizer) for number, each in enumerate(documents))
    comparison = _comparison(
        model,
        name=type(model).__name__,
        weights="not kept",
        documents=texts,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        methods=methods,
        lengths=lengths,
        modes=modes,
        protocol=protocol,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
    )
    results = measure(
        comparison.setting, comparison.series, comparison.open_model, Unsaved(), progress=progress
    )
    return [result.record() for result in results]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A model, what is measured of it, and how to put each method into it."""

    model: nn.Module
    geometry: RopeGeometry
    setting: Setting
    specs: tuple[Spec, ...]
    lengths: tuple[int, ...]
    series: tuple[Series, ...]

    @property
    def baseline(self) -> str:
        """What tables and differences compare with: plain RoPE, or else the first method."""
        texts = [spec.text for spec in self.specs]
        return PLAIN if PLAIN in texts else texts[0]

    @contextmanager
    def open_model(
        self, method: CellMethod, length: int, split: Pass
    ) -> Iterator[TransformersScorer]:
        """The model with a method at a length, as a pass stands for it."""
        spec = next(spec for spec in self.specs if spec.text == method.text)
        factor = default_factor(self.lengths, self.geometry)
        with extend_with(
            self.model, spec, default_factor=factor, context_length=length, split=split
        ):
            yield TransformersScorer(self.model)

    def document(self, records: list[Record], run_dir: Path) -> dict[str, Any]:
        """The JSON document of a comparison."""
        return {
            "model": self.setting.model,
            "trained_length": self.setting.trained_length,
            "protocol": self.setting.protocol.text,
            "run_dir": str(run_dir),
            "cells": records,
        }

    def timed(self) -> CostModel:
        """Seconds of a token, from one short pass of the unchanged model."""
        tokens = min(self.lengths[-1], self.setting.trained_length, 1024)
        ids = self.setting.documents[0].ids[:tokens]
        scorer = TransformersScorer(self.model)
        scorer.token_losses(ids, 1, FullPass())
        started = time.perf_counter()
        scorer.token_losses(ids, 1, FullPass())
        return CostModel.calibrated(tokens=len(ids), seconds=time.perf_counter() - started)


def _prepare(
    source: str | Path | None,
    *,
    texts: Sequence[Path] = (),
    dtype: str = "float32",
    windows: int | None = None,
    **request: Any,
) -> _Comparison:
    if dtype not in DTYPES:
        raise RopewalkError(f"dtype {dtype}: expected one of {', '.join(DTYPES)}")
    check_words(request.get("methods", ()), request.get("modes", ()))
    loaded = load_model(source or demo_model(), dtype=DTYPES[dtype])
    documents = read_documents(texts, loaded.require_tokenizer())
    default = DEMO_WINDOWS if source is None else DEFAULT_WINDOWS
    return _comparison(
        loaded.model,
        name=loaded.name,
        weights=_identity(loaded),
        documents=documents,
        dtype=dtype,
        windows=default if windows is None else windows,
        **request,
    )


def _comparison(
    model: nn.Module,
    *,
    name: str,
    weights: str,
    documents: tuple[Document, ...],
    dtype: str,
    methods: Sequence[str] = (),
    lengths: Sequence[int | str] = (),
    modes: Sequence[str] = (),
    protocol: str = "tail",
    windows: int = DEFAULT_WINDOWS,
    tail_tokens: int | None = None,
    stride: int | None = None,
) -> _Comparison:
    config = config_of(model)
    geometry = read_rope_section(config).geometry()
    native = encoding_from_config(config)
    tokens = read_lengths(lengths, geometry.trained_length)
    setting = Setting(
        model=name,
        trained_length=geometry.trained_length,
        weights=weights,
        dtype=dtype,
        documents=documents,
        code_version=code_version(),
        protocol=read_protocol(
            protocol,
            geometry.trained_length,
            windows=windows,
            tail_tokens=tail_tokens,
            stride=stride,
            lengths=tokens,
        ),
    )
    specs = tuple(read_specs(methods, native, none(geometry)))
    splits = [read_mode(mode) for mode in modes or ("full",)]
    series = [_series(spec, split, tokens, geometry, native) for split in splits for spec in specs]
    return _Comparison(
        model=model,
        geometry=geometry,
        setting=setting,
        specs=specs,
        lengths=tokens,
        series=tuple(series),
    )


def _series(
    spec: Spec, split: Pass, lengths: tuple[int, ...], geometry: RopeGeometry, native: Encoding
) -> Series:
    """A method in one mode. Its encoding is built once, so that a bad one is told at once."""
    factor = default_factor(lengths, geometry)
    encoding = spec.encoding(
        geometry, default_factor=factor, context_length=lengths[-1], native=native
    )
    prefix_consistent = encoding.path_independent or split in (DecodePass(), StreamPass())
    one_model = not spec.depends_on_length
    canonical = spec if spec.depends_on_length else spec.resolved(geometry, default_factor=factor)
    return Series(
        method=CellMethod(text=spec.text, canonical=canonical.canonical),
        split=split,
        lengths=lengths,
        sharing=SharedPasses() if prefix_consistent and one_model else OnePassPerLength(),
    )


def default_factor(lengths: Sequence[int], geometry: RopeGeometry) -> float:
    """What an omitted factor is: the longest length over the trained length, at least 1."""
    return max(1.0, max(lengths) / geometry.trained_length)


def default_run_dir(comparison: _Comparison) -> Path:
    """``ropewalk-runs/<model>-<protocol>`` in the working folder."""
    setting = comparison.setting
    return RUNS / f"{setting.model.replace('/', '--')}-{setting.protocol.name}"


def _identity(loaded: LoadedModel) -> str:
    """Weights and config together: the same weights under another config are another model."""
    config = {key: value for key, value in loaded.config.items() if key not in _VOLATILE}
    text = loaded.fingerprint + json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _document(number: int, content: str | Tensor, tokenizer: Tokenizer | None) -> Document:
    name = f"document {number + 1}"
    if isinstance(content, Tensor):
        return Document(name=name, ids=content, byte_lengths=torch.zeros_like(content))
    if tokenizer is None:
        raise RopewalkError(f"{name} is text: expected token ids, or a tokenizer beside it")
    return Document.encode(name, content, tokenizer)
