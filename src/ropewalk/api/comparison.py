"""A comparison before it runs: a model, what is measured of it, and how methods get into it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.api.extending import config_of, extend_with
from ropewalk.api.request import (
    DEFAULT_WINDOWS,
    read_lengths,
    read_mode,
    read_protocol,
    read_specs,
)
from ropewalk.core.config import read_rope_section
from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.passes import DecodePass, FullPass, Pass, StreamPass
from ropewalk.evaluation.cells import CellMethod, Record, Series
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols import OnePassPerLength, SharedPasses
from ropewalk.evaluation.setting import Setting, code_version
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.methods.from_config import encoding_from_config
from ropewalk.methods.spec import Spec
from ropewalk.methods.unscaled import none
from ropewalk.report.records import PLAIN


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
    windows: int = DEFAULT_WINDOWS,
    tail_tokens: int | None = None,
    stride: int | None = None,
) -> Comparison:
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
    return Comparison(
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
