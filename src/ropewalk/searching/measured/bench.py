"""The callables that a search sees: candidates measured as cells of a folder, by any executor."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.cells import Measurement, Series
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.jobs import ModelSource
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.protocols.protocol import OnePassPerLength
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.runs import Store
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.tasks.generator import Generator
from ropewalk.evaluation.tasks.longppl import KeyTokens, LongPPL
from ropewalk.evaluation.tasks.needle_loss import NeedleLoss
from ropewalk.evaluation.tasks.task import Task
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.evaluation.tasks.wave_slope import MAGNITUDE, WaveSlopes, of_pair
from ropewalk.evaluation.units import LOSS, Unit
from ropewalk.methods.spec import Part, Spec
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measure import Score, Slope
from ropewalk.searching.request import Objective
from ropewalk.searching.ways.slopes import PASSES


@dataclass(slots=True, kw_only=True)
class Meter:
    """Seconds of the passes of all measurements, and of how many documents they were."""

    seconds: float = 0.0
    units: int = 0
    reason: str = ""

    def unit_seconds(self) -> float:
        """On average; 0 before the first."""
        return self.seconds / self.units if self.units else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all measurements of a search have in common.

    setting    of every cell but its documents, protocol and tasks
    tokens     scored at the end of each document
    objective  what is measured, each term by a cell of its own
    needles    the generator of the term ``needle``, and the tokenizer; None without that term
    short      tokens of the short contexts that a limit speaks of; None without one
    pinned     a magnitude in the place of every candidate's; None for their own
    """

    setting: Setting
    source: ModelSource
    store: Store
    length: int
    tokens: int
    objective: Objective
    needles: tuple[Generator, Tokens] | None
    short: int | None
    executor: Executor | None
    batch: int
    pinned: float | None = None
    meter: Meter = field(default_factory=Meter)

    @property
    def tokens_each(self) -> int:
        """Tokens that go through the model for one candidate and one document."""
        return len(self.objective.weights) * self.length + (self.short or 0)

    def spec(self, candidate: Candidate) -> Spec:
        """The candidate as a method."""
        own = candidate if self.pinned is None else replace(candidate, magnitude=self.pinned)
        return spec_of(own, self.setting.trained_length, self.length)

    def series(self, candidate: Candidate, length: int, task: str) -> Series:
        """One cell of a candidate."""
        return Series(
            method=self.spec(candidate),
            split=FullPass(),
            lengths=(length,),
            sharing=OnePassPerLength(),
            task=task,
        )

    def units(
        self, setting: Setting, candidates: Sequence[Candidate], length: int, task: str
    ) -> list[tuple[Unit, ...] | None]:
        """Of a cell of each candidate; None for one that could not be measured."""
        results = measure(
            setting,
            [self.series(each, length, task) for each in candidates],
            self.source,
            self.store,
            executor=self.executor,
            batch=self.batch,
        )
        found: dict[Spec, tuple[Unit, ...] | None] = {}
        for result in results:
            if isinstance(result, Measurement):
                self.meter.seconds += result.seconds
                found[result.cell.method] = result.units
            else:
                self.meter.reason = result.reason
                found[result.cell.method] = None
        return [found[self.spec(each)] for each in candidates]  # equal ones are one cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``Measure`` and ``MeasureSlope`` over some documents of one length.

    first  number of its first needle: no two panels have the same
    keys   of the term ``longppl``, one a document
    plain  the unscaled model, from which a short-context limit counts
    """

    bench: Bench
    documents: tuple[Document, ...]
    first: int
    keys: Sequence[KeyTokens]
    plain: Candidate

    def __call__(
        self, candidates: Sequence[Candidate], documents: range
    ) -> Sequence[Sequence[Score]]:
        values = [[0.0] * len(documents) for _ in candidates]
        for name, weight in self.bench.objective.weights:
            for own, units in zip(values, self._term(name, candidates, documents), strict=True):
                for place in range(len(documents)):
                    own[place] += weight * (_mean(units[place]) if units else float("inf"))
        self.bench.meter.units += len(candidates) * len(documents)
        shorts = self._shorts(candidates, documents)
        scores = [
            [Score(value, short) for value, short in zip(own, costs, strict=True)]
            for own, costs in zip(values, shorts, strict=True)
        ]
        self._require_any(scores)
        return scores

    def slope(self, candidate: Candidate, documents: range) -> Slope:
        """As ``MeasureSlope``."""
        setting = self._setting(documents, self.bench.tokens)
        task = WaveSlopes(loss=setting.task)
        setting = replace(setting, others=(task,))
        (units,) = self.bench.units(setting, [candidate], self.bench.length, task.text)
        if units is None:
            raise RopewalkError(self.bench.meter.reason)
        self.bench.meter.units += PASSES * len(documents)
        pairs = len(candidate.divisors)
        return Slope(
            value=_over(units, LOSS.name),
            divisors=tuple(_over(units, of_pair(number)) for number in range(pairs)),
            magnitude=_over(units, MAGNITUDE),
        )

    def _term(
        self, name: str, candidates: Sequence[Candidate], documents: range
    ) -> list[tuple[Unit, ...] | None]:
        setting, task = self._setting(documents, self.bench.tokens), LOSS.name
        other: Task | None = None
        if name == "needle" and self.bench.needles is not None:
            generator, tokens = self.bench.needles
            numbers = range(self.first + documents.start, self.first + documents.stop)
            other = NeedleLoss(generator=generator, tokens=tokens, numbers=numbers)
        elif name == "longppl":
            setting = self._setting(documents, len(self.keys[0].mask))
            keys = {(place, 0): self.keys[number] for place, number in enumerate(documents)}
            other = LongPPL(
                loss=setting.task, keys=keys, evaluator="the model as it ships", fewest=1
            )
        if other is not None:
            setting, task = replace(setting, others=(other,)), other.text
        return self.bench.units(setting, candidates, self.bench.length, task)

    def _shorts(self, candidates: Sequence[Candidate], documents: range) -> list[list[float]]:
        """Nats at the trained length above the unscaled model's; 0 where no limit asks."""
        short = self.bench.short
        if short is None:
            return [[0.0] * len(documents) for _ in candidates]
        setting = self._setting(documents, min(self.bench.tokens, short // 2))
        plain, *others = self.bench.units(setting, [self.plain, *candidates], short, LOSS.name)
        if plain is None:
            raise RopewalkError(self.bench.meter.reason)
        base = [_mean(unit) for unit in plain]
        return [
            [float("inf")] * len(base)
            if units is None
            else [_mean(unit) - own for unit, own in zip(units, base, strict=True)]
            for units in others
        ]

    def _setting(self, documents: range, tokens: int) -> Setting:
        return replace(
            self.bench.setting,
            documents=tuple(self.documents[number] for number in documents),
            protocol=Tail(tokens=tokens, windows=1),
        )

    def _require_any(self, scores: Sequence[Sequence[Score]]) -> None:
        """Raise where every one of several candidates failed: what they share is at fault."""
        if len(scores) > 1 and all(own[0].value == float("inf") for own in scores):
            raise RopewalkError(self.bench.meter.reason)


def spec_of(candidate: Candidate, trained_length: int, length: int) -> Spec:
    """A candidate in force at every row, as engines with one list have it."""
    arguments = (
        ("short_factor", candidate.divisors),
        ("long_factor", candidate.divisors),
        ("factor", max(1.0, length / trained_length)),
        ("attention_factor", candidate.magnitude),
        ("start_tokens", candidate.start_tokens),
        ("policy", "fixed"),
        ("length", length),
    )
    return Spec(text="a candidate", parts=(Part(name="longrope", arguments=arguments),))


def _mean(unit: Unit) -> float:
    """A unit of one metric, whose own it is: nats over tokens."""
    for name in ("longppl", LOSS.name):
        if name in unit.values:
            above, below = unit.values[name]
            return above / below
    raise KeyError(LOSS.name)


def _over(units: Sequence[Unit], name: str) -> float:
    """Mean over documents of a value over its tokens."""
    ratios = [unit.values[name] for unit in units]
    return sum(above / below for above, below in ratios) / len(ratios)
