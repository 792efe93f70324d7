"""A comparison before it runs: a model, what is measured of it, and how methods get into it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ropewalk.api.extending import config_of, extend_with
from ropewalk.api.request import read_lengths, read_mode, read_specs
from ropewalk.configs.shape import read_model
from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.passes import DecodePass, FullPass, Pass, StreamPass
from ropewalk.evaluation.cells import CellMethod, Record, Result, Series
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.memory import meter_of
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.protocols.protocol import OnePassPerLength, SharedPasses
from ropewalk.evaluation.protocols.table import read_protocol
from ropewalk.evaluation.runs import Store
from ropewalk.evaluation.setting import Setting
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import Spec
from ropewalk.methods.unscaled import none
from ropewalk.report.records import PLAIN
from ropewalk.storage.version import code_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A model, what is measured of it, and how to put each method into it."""

    model: nn.Module
    geometry: RopeGeometry
    setting: Setting
    specs: tuple[Spec, ...]
    lengths: tuple[int, ...]
    series: tuple[Series, ...]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

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

    def measured(
        self,
        store: Store,
        *,
        executor: Executor | None = None,
        progress: Progress | None = None,
        batch: int = 1,
    ) -> tuple[Result, ...]:
        """The results of all series: those that the store holds, and the rest measured."""
        return measure(
            self.setting,
            self.series,
            self.open_model,
            store,
            executor=executor,
            progress=progress,
            meter=meter_of(self.device),
            batch=batch,
        )

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


def comparison_of(
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
    windows: int | None = None,
    tail_tokens: int | None = None,
    stride: int | None = None,
) -> Comparison:
    """A model with what it is asked for; options as in ``ropewalk compare --help``.

    Raises RopewalkError for bad input.
    """
    config = config_of(model)
    section = read_model(config).rope()
    geometry, native = section.geometry(), native_encoding(section)
    tokens = read_lengths(lengths, geometry.trained_length)
    rule = read_protocol(
        protocol,
        geometry.trained_length,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
        lengths=tokens,
    )
    setting = Setting(
        model=name,
        trained_length=geometry.trained_length,
        weights=weights,
        dtype=dtype,
        documents=documents,
        code_version=code_version(),
        protocol=rule,
    )
    specs = tuple(read_specs(methods, native, none(geometry)))
    series = tuple(
        _series(spec, read_mode(mode), tokens, geometry, native)
        for mode in modes or ("full",)
        for spec in specs
    )
    return Comparison(
        model=model,
        geometry=geometry,
        setting=setting,
        specs=specs,
        lengths=tokens,
        series=series,
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
