"""Retrieval: samples of a generator over a grid of depths, answered in two ways.

    teacher forcing   nats of the answer, its rank among the distractors, greedy or not
    generation        greedy decoding, judged as ``judging.py`` says

Trial t of T stands at depth (t + u) / T, u random in [0, 1), so that every length sees all depths
alike. Samples are the same for every method and mode: differences are paired.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ropewalk.core.answering import AnsweringModel, Reader
from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.bootstrap import figure, interval
from ropewalk.evaluation.cost import call_cost, pass_cost
from ropewalk.evaluation.free_memory import free_bytes
from ropewalk.evaluation.protocols.protocol import OnePassPerLength, Sharing
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.task import Advance, Task
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.evaluation.tasks.wilson import wilson
from ropewalk.evaluation.units import LOSS, Metric, Ratio, Unit, total

TRIALS = 20
DEPTHS = 5
"""Bins of the grid."""
SEED = 2404
TOKEN_BYTES = 700
"""Of a prompt while it is made: ids, text, and what the tokenizer says of it (seen: needle 695,
passkey 520, induction 20)."""
RANKED_FIRST = Metric(name="rank_1", better="higher")
"""Share of trials whose answer is likelier than every distractor in the text."""
RANKED = 4
"""By estimate, for costs: the answer and its distractors."""
_COUNTED = ("right", "exact", "first_integer", "wrong", "empty")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Retrieval(Task):
    """A generator's samples: ``trials`` of them at every length.

    digest  of a file that they are made of, or nothing
    chosen  the trials that are measured; None: all
    """

    generator: Generator
    tokens: Tokens
    trials: int = TRIALS
    seed: int = SEED
    digest: str = ""
    chosen: range | None = None

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise RopewalkError(f"trials={self.trials}: expected at least 2, for an interval")

    @property
    def name(self) -> str:
        """As typed on the command line."""
        return self.generator.name

    @property
    def text(self) -> str:
        """Documents and weights, which fix texts and tokenizer, are the setting's."""
        opening = ",".join(map(str, self.tokens.opening)) or "none"
        own = f"{self.name}:trials={self.trials},seed={self.seed},bos={opening}{self.digest}"
        return own if self.chosen is None else f"{own},at={self.chosen.start}-{self.chosen.stop}"

    def parts(self, size: int) -> tuple[Task, ...]:
        starts = range(0, self.trials, size)
        return tuple(
            replace(self, chosen=range(start, min(start + size, self.trials))) for start in starts
        )

    @property
    def _numbers(self) -> range:
        return range(self.trials) if self.chosen is None else self.chosen

    @property
    def metric(self) -> Metric:
        return RANKED_FIRST if self.generator.ranked else LOSS

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return OnePassPerLength().groups(lengths)

    def check(self, length: int) -> None:
        """Of the first trial alone: another that is longer fails when it is measured."""
        if self._numbers.start != 0:
            return
        free, needed = free_bytes(), length * TOKEN_BYTES
        if free is not None and needed > free:
            raise RopewalkError(
                f"{self.name} at length {length}: a prompt does not fit into memory (about "
                f"{needed / 2**30:,.0f} GiB, {free / 2**30:,.0f} are free); ask for less"
            )
        try:
            self.sample(length, 0)
        except MemoryError as error:
            raise RopewalkError(
                f"{self.name} at length {length}: a prompt does not fit into memory; ask for less"
            ) from error

    def cost(self, lengths: Sequence[int], split: Pass) -> float:
        return len(self._numbers) * sum(self._sample_cost(length, split) for length in lengths)

    def _sample_cost(self, length: int, split: Pass) -> float:
        """Of the prompt's pass, a call for each answer that is fed, and one a generated token."""
        calls = self.generator.room + (RANKED if self.generator.ranked else 1)
        return pass_cost(length, split) + calls * call_cost(length)

    def sample(self, length: int, trial: int) -> Sample:
        """Raises RopewalkError below the shortest length."""
        within = np.random.default_rng([self.seed, trial]).random()
        depth = (trial + within) / self.trials
        place = Place(length=length, depth=depth, seed=self.seed, trial=trial)
        return self.generator.sample(place, self.tokens)

    def units(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        split: Pass,
        *,
        batch: int,
        advance: Advance,
    ) -> Mapping[int, tuple[Unit, ...]]:
        if not isinstance(model, AnsweringModel):
            raise RopewalkError(
                f"task {self.name}: {type(model).__name__} scores texts but does not answer; "
                "expected a model that can be read from"
            )
        return {
            length: tuple(self._units(model, length, split, batch, advance)) for length in lengths
        }

    def _units(
        self, model: AnsweringModel, length: int, split: Pass, batch: int, advance: Advance
    ) -> Iterator[Unit]:
        for first in range(0, len(self._numbers), batch):
            numbers = self._numbers[first : first + batch]
            samples = [self.sample(length, trial) for trial in numbers]
            reader = model.read(torch.tensor([each.ids for each in samples]), split)
            values = zip(_forced(reader, samples), self._generated(reader, samples), strict=True)
            for trial, (forced, generated) in zip(numbers, values, strict=True):
                window = trial * DEPTHS // self.trials
                yield Unit(document=trial, window=window, values=forced | generated)
            advance(len(samples) * self._sample_cost(length, split))

    def _generated(self, reader: Reader, samples: Sequence[Sample]) -> Iterator[dict[str, Ratio]]:
        stops = set(self.tokens.tokenizer.all_special_ids)
        room = max(each.max_new_tokens for each in samples)
        for sample, row in zip(samples, reader.greedy(room, stops).tolist(), strict=True):
            ids = list(_until(row[: sample.max_new_tokens], stops))
            verdict = self.generator.verdict(self.tokens.text(ids), ids, sample)
            values = {name: getattr(verdict, name) for name in (*_COUNTED, "recall")}
            yield {
                name: Ratio(float(value), 1) for name, value in values.items() if value is not None
            }

    def fields(self, units: Sequence[Unit]) -> dict[str, Any]:
        """``value`` is the metric's figure over ``trials``, ``ci95`` its interval: Wilson's for
        counts, over trials drawn again for losses. Nats are by token of the answer.
        """
        by_depth = [
            [unit for unit in units if unit.window == window]
            for window in sorted({unit.window for unit in units})
        ]
        forced = _forced_fields(units)
        headline = "rank_1" if self.generator.ranked else "loss"
        return {
            "task": self.name,
            "metric": headline,
            "value": forced[headline],
            "ci95": forced["ci95"][headline],
            "ci95_over": "trials",
            "trials": len(units),
            "forced": forced,
            "generation": _generation_fields(units),
            "depths": [_depth_fields(some, self.trials) for some in by_depth],
        }

    def rows(self, length: int) -> Iterator[str]:
        """The samples of a length as JSON lines, in the schema of ``Sample.row``."""
        for trial in range(self.trials):
            yield json.dumps(self.sample(length, trial).row(), ensure_ascii=False)


def _forced(reader: Reader, samples: Sequence[Sample]) -> list[dict[str, Ratio]]:
    """Nats of the answer, whether greedy decoding gives it, and its rank among the distractors."""
    count = max(len(each.candidates) for each in samples)
    asked = [_together(reader, samples, number) for number in range(count)]
    found = []
    for row, sample in enumerate(samples):
        nats = [
            float(losses[row, : len(candidate)].sum())
            for (losses, _), candidate in zip(asked, sample.candidates, strict=False)
        ]
        if not np.isfinite(nats).all():
            raise RopewalkError(
                f"task {sample.task}: a loss that is not finite within {sample.length} tokens; "
                "expected finite numbers; try float32"
            )
        size = len(sample.candidates[0])
        greedy = bool(asked[0][1][row, :size].all())
        values = {LOSS.name: Ratio(nats[0], size), "greedy": Ratio(float(greedy), 1)}
        if sample.distractors:
            rank = 1 + sum(other <= nats[0] for other in nats[1:])
            values |= {"rank": Ratio(rank, 1), RANKED_FIRST.name: Ratio(float(rank == 1), 1)}
        found.append(values)
    return found


def _together(reader: Reader, samples: Sequence[Sample], number: int) -> tuple[Tensor, Tensor]:
    """Candidate ``number`` of each sample (of those that have fewer, the answer), filled up on
    the right, which no token before it sees.
    """
    rows = [each.candidates[number if number < len(each.candidates) else 0] for each in samples]
    longest = max(map(len, rows))
    filled = [[*row, *[row[-1]] * (longest - len(row))] for row in rows]
    losses, most_likely = reader.forced(torch.tensor(filled))
    return losses, most_likely


def _until(ids: Iterable[int], stops: set[int]) -> Iterator[int]:
    for each in ids:
        if each in stops:
            return
        yield each


def _mean(units: Sequence[Unit], name: str) -> float | None:
    if name not in units[0].values:
        return None
    above, below = total(units, Metric(name=name))
    return above / below


def _forced_fields(units: Sequence[Unit]) -> dict[str, Any]:
    spread = interval(units, LOSS)
    first = _mean(units, "rank_1")
    return {
        "loss": figure(units, LOSS),
        "rank": _mean(units, "rank"),
        "rank_1": first,
        "greedy": _mean(units, "greedy"),
        "ci95": {
            "loss": [spread.low, spread.high] if spread else None,
            "rank_1": None if first is None else _wilson(units, "rank_1"),
            "greedy": _wilson(units, "greedy"),
        },
    }


def _generation_fields(units: Sequence[Unit]) -> dict[str, Any]:
    counts = {
        name: int(total(units, Metric(name=name)).numerator) if name in units[0].values else None
        for name in _COUNTED
    }
    return {**counts, "recall": _mean(units, "recall"), "ci95": _wilson(units, "right")}


def _depth_fields(units: Sequence[Unit], trials: int) -> dict[str, Any]:
    """Trials of one bin of depths: shares, and the mean loss."""
    trial_numbers = [unit.document for unit in units]
    names = ("right", "greedy", "rank_1", LOSS.name)
    return {
        "from": min(trial_numbers) / trials,
        "to": (max(trial_numbers) + 1) / trials,
        "trials": len(units),
        **{name: _mean(units, name) for name in names},
    }


def _wilson(units: Sequence[Unit], name: str) -> list[float]:
    return list(wilson(*total(units, Metric(name=name))))
