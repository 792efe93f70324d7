"""What is asked of a tuning, from words to values."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.methods.spec import Spec, parse_spec
from ropewalk.training.tuning.adapters import Everything, LowRank, Trainable
from ropewalk.training.tuning.positions import CREAM, FullLength, PoSE, PositionSampler
from ropewalk.training.tuning.schedule import Schedule

DEFAULT_STEPS = 100
_Made = TypeVar("_Made")
_SAMPLERS: Mapping[str, Callable[..., PositionSampler]] = {
    FullLength.name: FullLength,
    PoSE.name: PoSE,
    CREAM.name: CREAM,
}
_TRAINED: Mapping[str, Callable[..., Trainable]] = {"full": Everything, "lora": LowRank}
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_KEYS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "cream": {"sigma": float},
    "lora": {"rank": int, "alpha": float, "targets": lambda text: tuple(text.split("/"))},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Training under one method at one length.

    method  with every factor a number
    length  N, in tokens
    steps   None for what a budget leaves room for
    """

    method: Spec
    length: int
    steps: int | None
    sampler: PositionSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRequest:
    """The words of ``ropewalk tune``; method, length, steps and sampler one, or one for each stage.

    method          specs
    length          N in tokens, or in trained lengths as ``4x``
    steps           of the optimizer; none for the default, or for what a budget leaves room for;
                    0 for a stage that changes the method alone
    sampler         of positions: ``full``, ``pose``, ``cream`` or ``cream:sigma=3``
    parameters      trained: ``full``, or ``lora`` with ``rank=8``, ``alpha=16``,
                    ``targets=q_proj/v_proj``
    batch           windows a step
    at_once         of them that go through the model at once; by default all
    learning_rate   peak; by default by the number of parameters
    lengths         measured; by default the trained length, its doublings, and N
    windows, tail_tokens  of the protocol ``tail``
    evaluate_every  steps between measurements; by default a quarter of a stage; 0 for none
    save_every      steps between checkpoints; by default a tenth of a stage
    precision       of forward and backward, ``float32`` or ``bfloat16``; by default that on a GPU

    Raises RopewalkError for a word that says nothing.
    """

    method: str | Sequence[str]
    length: int | str | Sequence[int | str]
    steps: int | Sequence[int] = ()
    sampler: str | Sequence[str] = FullLength.name
    parameters: str = "full"
    batch: int = 4
    at_once: int | None = None
    learning_rate: float | None = None
    lengths: Sequence[int | str] = ()
    windows: int | None = None
    tail_tokens: int | None = None
    evaluate_every: int | None = None
    save_every: int | None = None
    precision: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for method in _listed(self.method):
            parse_spec(method)
        for sampler in _listed(self.sampler):
            read_sampler(sampler)
        read_trained(self.parameters)
        if self.precision not in (None, *_PRECISIONS):
            raise RopewalkError(
                f"precision {self.precision}: expected one of {', '.join(_PRECISIONS)}"
            )
        words = (self.method, self.length, self.sampler, _listed(self.steps) or 1)
        if any(len(_listed(each)) not in (1, self.stage_count) for each in words):
            counts = ", ".join(str(len(_listed(each))) for each in words)
            raise RopewalkError(
                f"{counts} methods, lengths, samplers and steps: expected one of each, or one for "
                "each stage"
            )
        for steps in _listed(self.steps):
            if steps < 0:
                raise RopewalkError(
                    f"{steps} steps: expected at least 1, or 0 for a stage that changes the method "
                    "alone"
                )

    @property
    def stage_count(self) -> int:
        """How many stages there are."""
        return max(len(_listed(each)) for each in (self.method, self.length, self.sampler))

    def stages(
        self, tokens_of: Callable[[int | str], int], resolved: Callable[[Spec, int], Spec]
    ) -> tuple[Stage, ...]:
        """The stages over a checkpoint.

        tokens_of  tokens of a length
        resolved   a spec with every factor a number, for a length
        """
        columns = (self.method, self.length, _listed(self.steps) or (None,), self.sampler)
        methods, lengths, steps, samplers = (_each(each, self.stage_count) for each in columns)
        return tuple(
            Stage(
                method=resolved(parse_spec(method), tokens_of(length)),
                length=tokens_of(length),
                steps=own,
                sampler=read_sampler(sampler),
            )
            for method, length, own, sampler in zip(methods, lengths, steps, samplers, strict=True)
        )

    def schedule(self, steps: int, parameters: int) -> Schedule:
        """How a stage of so many steps is trained, of a model of so many parameters."""
        rate = self.learning_rate
        return Schedule(
            steps=steps,
            batch=self.batch,
            at_once=self.at_once or self.batch,
            learning_rate=default_learning_rate(parameters) if rate is None else rate,
            save_every=self.save_every or max(1, steps // 10),
            seed=self.seed,
            precision=None if self.precision is None else _PRECISIONS[self.precision],
        )


def read_sampler(text: str) -> PositionSampler:
    """``full``, ``pose``, ``cream`` or ``cream:sigma=3``; RopewalkError for anything else."""
    return _made(text, "sampler", _SAMPLERS)


def read_trained(text: str) -> Trainable:
    """``full``, ``lora`` or ``lora:rank=8,...``; RopewalkError for anything else."""
    return _made(text, "--train", _TRAINED)


def default_learning_rate(parameters: int) -> float:
    """The peak rate for a model of so many parameters.

        (0.003239 - 0.0001395 ln(parameters)) / 4

    Source: Kaplan et al. 2020, arXiv:2001.08361, equation D.1, for training from scratch. PI and
    YaRN tuned 7B models at 2e-5, a quarter of what it gives there; at the whole of it the demo
    model forgets (docs/adapt.md).
    """
    return max(0.003239 - 0.0001395 * math.log(parameters), 2e-5) / 4


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _each(given: Any, count: int) -> list[Any]:
    """One for each stage."""
    listed = _listed(given)
    return listed if len(listed) == count else listed * count


def _made(text: str, what: str, known: Mapping[str, Callable[..., _Made]]) -> _Made:
    name, _, listed = text.strip().partition(":")
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise RopewalkError(f"{what} {text}: expected one of {', '.join(known)}{hint}")
    keys, arguments = _KEYS.get(name, {}), {}
    for item in listed.split(",") if listed else ():
        key, _, value = (word.strip() for word in item.partition("="))
        if key not in keys:
            raise RopewalkError(
                f"{what} {text}: unknown key {key!r}; expected {', '.join(keys) or 'none'}"
            )
        try:
            arguments[key] = keys[key](value)
        except ValueError as error:
            raise RopewalkError(f"{what} {text}: {key}={value}: expected a number") from error
    return known[name](**arguments)
