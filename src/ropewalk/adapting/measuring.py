"""Measuring a model as it stands: whatever is in force in it stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.passes import Pass
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.request import Request
from ropewalk.evaluation.run import Run
from ropewalk.evaluation.runs import NoStore
from ropewalk.integrations.placement import input_device
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import Spec

if TYPE_CHECKING:
    from ropewalk.evaluation.progress import Progress


@dataclass(frozen=True, slots=True)
class AsItStands:
    """A model in which a method is in force already: a source, and a session, of this process."""

    model: nn.Module

    def open(self) -> "AsItStands":
        return self

    @property
    def device(self) -> torch.device:
        return input_device(self.model)

    def use(self, method: Spec, length: int, split: Pass) -> TransformersScorer:
        return TransformersScorer(self.model)

    def close(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measuring:
    """What every measurement of one study has in common.

    shape       the checkpoint's, before any method was put into it
    documents   the texts to measure on
    lengths     in tokens
    """

    name: str
    shape: ModelShape
    documents: tuple[Document, ...]
    lengths: Sequence[int]
    windows: int | None = None
    tail_tokens: int | None = None

    def run(self, method: str) -> Run:
        """Cells of one method. Raises RopewalkError for lengths that the texts do not allow."""
        rope = self.shape.rope()
        native: Encoding = native_encoding(rope)
        request = Request(
            methods=[method],
            lengths=self.lengths,
            windows=self.windows,
            tail_tokens=self.tail_tokens,
        )
        return Run.of(
            request,
            rope.geometry(),
            native,
            name=self.name,
            weights="not kept",
            documents=self.documents,
            dtype="float32",
        )

    def records(
        self, model: nn.Module, method: str, progress: "Progress | None" = None
    ) -> list[Record]:
        """Of a model that stands under ``method``: one record a length."""
        run = self.run(method)
        results = measure(run.setting, run.series, AsItStands(model), NoStore(), progress=progress)
        return [result.record() for result in results]
