"""A run before it is measured: its setting, and the series that are asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import DecodePass, Pass, StreamPass
from ropewalk.evaluation.cells import Record, Series
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.parts import Part, merged
from ropewalk.evaluation.protocols.protocol import OnePassPerLength, SharedPasses
from ropewalk.evaluation.protocols.table import read_protocol
from ropewalk.evaluation.request import Request, read_lengths, read_mode, read_tasks
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.tasks.task import Task
from ropewalk.evaluation.units import LOSS
from ropewalk.methods.spec import Spec, parse_spec
from ropewalk.storage.version import code_version

PROBE_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all cells have in common, and which there are.

    lines   methods in modes over lengths
    tasks   ``Task.text`` of what is measured of each line
    wholes  by the text of a task that is measured as a part of another: the other
    """

    setting: Setting
    lines: tuple[Series, ...]
    tasks: tuple[str, ...]
    wholes: Mapping[str, Task] = field(default_factory=dict)

    @property
    def series(self) -> tuple[Series, ...]:
        """Every line for every task, in its parts."""
        return tuple(
            replace(line, task=part)
            for task in self.tasks
            for line in self.lines
            for part in self._parts(task)
        )

    def in_parts(self, size: int) -> "Run":
        """The same, measured so many samples at a time where a task has samples."""
        parts = {part: whole for whole in self.setting.others for part in whole.parts(size)}
        return replace(
            self,
            setting=replace(self.setting, others=tuple(parts)),
            wholes={part.text: whole for part, whole in parts.items()},
        )

    def merged(self, results: Iterable[Part]) -> tuple[Part, ...]:
        """One result for each cell, whose parts are put together."""
        return merged(results, self.wholes)

    def _parts(self, task: str) -> tuple[str, ...]:
        return tuple(part for part, whole in self.wholes.items() if whole.text == task) or (task,)

    def with_task(self, task: Task) -> "Run":
        """This, and one more task of the same lines."""
        setting = replace(self.setting, others=(*self.setting.others, task))
        return replace(self, setting=setting, tasks=(*self.tasks, task.text))

    @classmethod
    def of(
        cls,
        request: Request,
        geometry: RopeGeometry,
        native: Encoding,
        *,
        name: str,
        weights: str,
        documents: tuple[Document, ...],
        dtype: str,
        others: tuple[Task, ...] = (),
        bos: str | None = None,
    ) -> "Run":
        """What is asked of a model of that geometry and encoding.

        name, weights, dtype, others, bos  as in ``Setting``

        Raises RopewalkError for bad input.
        """
        lines = request.all_lines(native)
        lengths = [read_lengths(line.lengths, geometry.trained_length) for line in lines]
        every = tuple(sorted({length for each in lengths for length in each}))
        setting = Setting(
            model=name,
            trained_length=geometry.trained_length,
            weights=weights,
            dtype=dtype,
            documents=documents,
            code_version=code_version(),
            others=others,
            bos=bos,
            protocol=read_protocol(
                request.protocol,
                geometry.trained_length,
                windows=request.windows,
                tail_tokens=request.tail_tokens,
                stride=request.stride,
                lengths=every,
            ),
        )
        factor = default_factor(every, geometry)
        specs = [_with_factor(parse_spec(line.method), factor) for line in lines]
        series = tuple(
            _series(spec, read_mode(line.mode), own, geometry, native)
            for spec, line, own in zip(specs, lines, lengths, strict=True)
        )
        loss = [LOSS.name] if LOSS.name in read_tasks(request.tasks) else []
        return cls(setting=setting, lines=series, tasks=(*loss, *(each.text for each in others)))

    def document(self, records: list[Record], run_dir: Path) -> dict[str, Any]:
        """The JSON document of a comparison."""
        return {
            "model": self.setting.model,
            "trained_length": self.setting.trained_length,
            "protocol": self.setting.protocol.text,
            "bos": self.setting.bos,
            "run_dir": str(run_dir),
            "cells": records,
        }

    def cost_model(self, model: LanguageModel) -> CostModel:
        """Seconds of a token, from short passes of the unchanged model."""
        longest = max(length for each in self.lines for length in each.lengths)
        tokens = min(longest, self.setting.trained_length, PROBE_TOKENS)
        return CostModel.timed(model, self.setting.documents[0].ids[:tokens])


def default_factor(lengths: Sequence[int], geometry: RopeGeometry) -> float:
    """What an omitted factor is: the longest length over the trained length, at least 1."""
    return max(1.0, max(lengths) / geometry.trained_length)


def _with_factor(spec: Spec, factor: float) -> Spec:
    """The spec with a number for every factor that is omitted."""
    parts = (part.with_factor(factor) if part.factor_omitted else part for part in spec.parts)
    return replace(spec, parts=tuple(parts))


def _series(
    spec: Spec, split: Pass, lengths: tuple[int, ...], geometry: RopeGeometry, native: Encoding
) -> Series:
    """A method in one mode. Its encoding is built once, so that a bad one is told at once."""
    encoding = spec.encoding(geometry, context_length=lengths[-1], native=native)
    prefix_consistent = encoding.path_independent or split in (DecodePass(), StreamPass())
    shared = prefix_consistent and not spec.depends_on_length
    return Series(
        method=spec,
        split=split,
        lengths=lengths,
        sharing=SharedPasses() if shared else OnePassPerLength(),
    )
