"""Needle loss: nats of the digits of a hidden number, teacher forced; nothing is generated.

    needle at the start of prose, question at its end, answer fed with the prompt in one pass
    loss = sum of -ln p(token) over the tokens of the answer that hold a digit

Plain loss averages over tokens that need no far context; these tokens need the first one.

Source: Shang et al. 2025, LongRoPE2, arXiv:2502.20082, section 3.2, needle-driven perplexity.
Deviation: one needle a text (RULER's sentence), not several in one book.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.bootstrap import figure, interval
from ropewalk.evaluation.cost import pass_cost
from ropewalk.evaluation.protocols.protocol import Sharing
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.task import Advance, Task
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.evaluation.units import LOSS, Metric, Ratio, Unit

SEED = 2502


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeedleLoss(Task):
    """Trials ``numbers`` of a generator whose answer is a number; a unit is a trial."""

    generator: Generator
    tokens: Tokens
    numbers: range

    @property
    def text(self) -> str:
        opening = ",".join(map(str, self.tokens.opening)) or "none"
        own = f"{self.generator.name},at={self.numbers.start}-{self.numbers.stop}"
        return f"needle_loss:{own},seed={SEED},bos={opening}"

    @property
    def metric(self) -> Metric:
        return LOSS

    def parts(self, size: int) -> tuple[Task, ...]:
        starts = range(self.numbers.start, self.numbers.stop, size)
        return tuple(
            replace(self, numbers=range(start, min(start + size, self.numbers.stop)))
            for start in starts
        )

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return tuple((length,) for length in lengths)

    def check(self, length: int) -> None:
        self._trial(length, self.numbers.start)

    def cost(self, lengths: Sequence[int], split: Pass) -> float:
        return len(self.numbers) * sum(pass_cost(length, split) for length in lengths)

    def units(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        split: Pass,
        *,
        batch: int,
        advance: Advance,
    ) -> Mapping[int, tuple[Unit, ...]]:
        found: dict[int, tuple[Unit, ...]] = {}
        for length in lengths:
            units = []
            for number in self.numbers:
                prompt, answer = self._trial(length, number)
                ids = torch.tensor([*prompt, *answer], dtype=torch.int64)
                losses = model.token_losses(ids, len(prompt), split)
                units.append(_unit(number, losses[self._digits(answer)]))
                advance(pass_cost(len(ids), split))
            found[length] = tuple(units)
        return found

    def fields(self, units: Sequence[Unit]) -> dict[str, Any]:
        """value in nats a digit's token, over trials drawn again for ``ci95``."""
        spread = interval(units, LOSS)
        return {
            "task": "needle_loss",
            "metric": LOSS.name,
            "value": figure(units, LOSS),
            "ci95": [spread.low, spread.high] if spread else None,
            "ci95_over": "trials",
            "trials": len(units),
        }

    def _trial(self, length: int, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of a prompt, and of the answer after it."""
        place = Place(length=length, depth=0.0, seed=SEED, trial=number)
        sample = self.generator.sample(place, self.tokens)
        return sample.ids, sample.candidates[0]

    def _digits(self, answer: Sequence[int]) -> torch.Tensor:
        texts = [self.tokens.text([each]) for each in answer]
        return torch.tensor([any(map(str.isdigit, text)) for text in texts])


def _unit(number: int, losses: torch.Tensor) -> Unit:
    if not len(losses) or not losses.isfinite().all():
        raise RopewalkError(
            "needle loss: no token of a digit, or a loss that is not finite; expected a tokenizer "
            "that spells digits, and finite numbers; try float32"
        )
    value = Ratio(losses.sum().item(), len(losses))
    return Unit(document=number, window=0, values={LOSS.name: value})
