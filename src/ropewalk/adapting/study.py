"""What a tuning works on: the checkpoint, its stages, the texts, and what is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.adapting.measuring import Measuring
from ropewalk.adapting.stating import Statement
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.keeping_out import kept_out
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.integrations.encoded import EncodedModel
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.session import extend_with, native_of
from ropewalk.methods.spec import NATIVE
from ropewalk.methods.unscaled import none
from ropewalk.opening.shapes import shape_of
from ropewalk.training.tuning.positions import Lengths
from ropewalk.training.tuning.request import Stage, TuneRequest, read_trained
from ropewalk.training.tuning.windows import TextWindows, require_window

PLAIN = "none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """A tuning before anything is trained.

    shape       of the checkpoint, to which factors refer
    statements  of each stage: how a config, or ropewalk.json, says its method
    """

    loaded: LoadedModel
    shape: ModelShape
    stages: tuple[Stage, ...]
    statements: tuple[Statement, ...]
    texts: tuple[Document, ...]
    measuring: Measuring
    request: TuneRequest

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        request: TuneRequest,
        texts: Sequence[str | Path],
        heldout: Sequence[str | Path],
    ) -> "Study":
        """Raises RopewalkError for what cannot be tuned, before anything is measured."""
        _require_plain(loaded)
        shape = shape_of(loaded.config)
        geometry, trained = shape.rope().geometry(), shape.rope().trained_length
        stages = request.stages(
            lambda length: length_in_tokens(length, trained),
            lambda spec, length: spec.resolved(geometry, context_length=length),
        )
        for stage in stages:  # a bad parameter is told here, not taken for what no config says
            stage.method.encoding(geometry, context_length=stage.length, native=_own(loaded))
            stage.sampler.check(Lengths(trained=trained, target=stage.length))
        if stages[-1].length < trained:
            raise RopewalkError(
                f"length {stages[-1].length} is below the trained length {trained}: expected at "
                "least that; what is saved would state less than the checkpoint can do"
            )
        read_trained(request.parameters).check(loaded.model)
        request.schedule(1, loaded.model.num_parameters())
        length = stages[-1].length
        train, measured = _texts(loaded, texts, heldout, length)
        for stage in stages:
            if stage.steps != 0:
                require_window(train, stage.sampler, Lengths(trained=trained, target=stage.length))
        return cls(
            loaded=loaded,
            shape=shape,
            stages=stages,
            statements=tuple(
                Statement.of(shape, each.method, each.length, loaded.method) for each in stages
            ),
            texts=train,
            measuring=Measuring(
                name=loaded.name,
                shape=shape,
                documents=measured,
                lengths=_measured_lengths(request, trained, length),
                windows=request.windows,
                tail_tokens=request.tail_tokens,
            ),
            request=request,
        )

    @property
    def trained_length(self) -> int:
        """L0."""
        return self.shape.rope().trained_length

    @property
    def length(self) -> int:
        """N of the last stage."""
        return self.stages[-1].length

    @property
    def method(self) -> str:
        """What is saved in the end, as typed."""
        return self.stages[-1].method.text

    @property
    def original(self) -> str:
        """What the checkpoint does as it is: ``none`` where that is plain RoPE."""
        own = _own(self.loaded)
        plain = self.loaded.method is None and own.frequencies == none(own.geometry).frequencies
        return PLAIN if plain else NATIVE

    @property
    def probe(self) -> Tensor:
        """Ids ``[N]`` of a text that was not trained on, for logits to be kept and compared."""
        return self.measuring.documents[0].ids[: self.length]

    def windows(self, number: int, count: int) -> TextWindows:
        """So many windows of the texts, as the stage of that number (from 0) reads them."""
        stage = self.stages[number]
        return TextWindows(
            documents=[each.ids for each in self.texts],
            sampler=stage.sampler,
            lengths=Lengths(trained=self.trained_length, target=stage.length),
            seed=self.request.seed * 1000 + number,
            count=count,
        )

    def before(self) -> list[Record]:
        """The original, and the method in its weights as they are."""
        model = self.loaded.model
        if self.loaded.method is None:
            cells = self.measured(model, self.original, "before", "original")
        else:
            with extend_with(model, self.loaded.method):
                cells = self.measured(model, self.original, "before", "original")
        if self.method == self.original:
            return cells
        with self.statements[-1].in_force(model) as working:
            return [*cells, *self.measured(working, self.method, "before", "original")]

    def measured(self, model: nn.Module, method: str, when: str, weights: str) -> list[Record]:
        """Of a model as it stands, with when and of which weights."""
        told = {"when": when, "weights": weights}
        return [{**told, **record} for record in self.measuring.records(model, method)]

    def settings(self, model: str) -> dict[str, Any]:
        """What decides the result; ``model`` is the checkpoint's identity."""
        return {
            "model": model,
            "stages": [
                {"method": a.method.canonical, "length": a.length, "sampler": repr(a.sampler)}
                for a in self.stages
            ],
            "request": repr(replace(self.request, save_every=None)),
            "texts": [each.digest for each in self.texts],
            "measured": self.measuring.run(PLAIN).setting.manifest(),
        }


def _own(loaded: LoadedModel) -> Any:
    return native_of(loaded.model)


def _require_plain(loaded: LoadedModel) -> None:
    if isinstance(loaded.model, EncodedModel):
        raise RopewalkError(
            f"{loaded.name} is a decoder of `ropewalk train`: expected a model of transformers; "
            "train it on with `ropewalk train`"
        )
    if not loaded.model.can_generate():
        raise RopewalkError(f"{loaded.name} predicts no next token: expected a causal model")
    loaded.require_tokenizer()


def _texts(
    loaded: LoadedModel,
    texts: Sequence[str | Path],
    heldout: Sequence[str | Path],
    length: int,
) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """Documents to train on and to measure on."""
    if not texts:
        raise RopewalkError("no text to train on: expected at least one file (--text)")
    tokenizer = loaded.require_tokenizer()
    train = tuple(Document.read(Path(file), tokenizer) for file in texts)
    if not heldout:
        return kept_out(train, length)
    measured = tuple(Document.read(Path(file), tokenizer) for file in heldout)
    same = {each.digest for each in train} & {each.digest for each in measured}
    if same:
        raise RopewalkError("a text is given to train on and to measure on; drop one")
    longest = max(len(each.ids) for each in measured)
    if longest < length:
        raise RopewalkError(
            f"the longest text to measure on has {longest} tokens: expected at least {length}, the "
            "length; give a longer --heldout"
        )
    return train, measured


def _measured_lengths(request: TuneRequest, trained: int, length: int) -> tuple[int, ...]:
    asked = [length_in_tokens(each, trained) for each in request.lengths]
    doublings: list[int] = []
    while not asked and trained * 2 ** len(doublings) < length:
        doublings.append(trained * 2 ** len(doublings))
    return tuple(sorted({*asked, *doublings, trained, length}))


def rounded(model: nn.Module, dtype: torch.dtype) -> None:
    """The numbers that a checkpoint in ``dtype`` holds, in float32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())
