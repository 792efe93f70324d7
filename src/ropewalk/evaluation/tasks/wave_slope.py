"""The loss of a protocol's tokens, with its gradient through the waves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel, SlopedModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.bootstrap import figure
from ropewalk.evaluation.protocols.protocol import Sharing
from ropewalk.evaluation.tasks.loss import Loss
from ropewalk.evaluation.tasks.task import Advance, Task
from ropewalk.evaluation.units import LOSS, Metric, Ratio, Unit

MAGNITUDE = "slope of magnitude"
BACKWARD_COST = 3.0
"""A forward and a backward pass over a forward pass."""


def of_pair(number: int) -> str:
    """The name of a pair's value in a unit: d nats / d ln lambda over scored tokens."""
    return f"slope of pair {number}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WaveSlopes(Task):
    """Units of ``loss``, each with a slope for every pair and for the magnitude."""

    loss: Loss

    @property
    def text(self) -> str:
        return "wave_slope"

    @property
    def metric(self) -> Metric:
        return LOSS

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return tuple((length,) for length in lengths)

    def check(self, length: int) -> None:
        self.loss.check(length)

    def cost(self, lengths: Sequence[int], split: Pass) -> float:
        return BACKWARD_COST * self.loss.cost(lengths, split)

    def units(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        split: Pass,
        *,
        batch: int,
        advance: Advance,
    ) -> Mapping[int, tuple[Unit, ...]]:
        if not isinstance(model, SlopedModel):
            raise RopewalkError(
                f"{type(model).__name__} has no gradient through its waves: expected a model of "
                "transformers; use another way to search"
            )
        found: dict[int, tuple[Unit, ...]] = {}
        for length in lengths:
            units = []
            for number, text in enumerate(self.loss.texts):
                for window, span in enumerate(self.loss.protocol.spans((length,), text)):
                    slope = model.wave_slope(text.ids[span.start : span.stop], span.first)
                    units.append(_unit(number, window, slope))
            found[length] = tuple(units)
        advance(self.cost(lengths, split))
        return found

    def fields(self, units: Sequence[Unit]) -> dict[str, Any]:
        """value in nats a token; slopes stand in the units alone."""
        return {"task": self.text, "metric": LOSS.name, "value": figure(units, LOSS)}


def _unit(document: int, window: int, slope: Any) -> Unit:
    losses, divisors, magnitude = slope
    if not (losses.isfinite().all() and divisors.isfinite().all()):
        raise RopewalkError(
            "a loss or a gradient through the waves that is not finite; expected finite numbers; "
            "try float32"
        )
    tokens = len(losses)
    pairs = {of_pair(number): Ratio(each, tokens) for number, each in enumerate(divisors.tolist())}
    values = {
        LOSS.name: Ratio(losses.sum().item(), tokens),
        MAGNITUDE: Ratio(magnitude, tokens),
        **pairs,
    }
    return Unit(document=document, window=window, values=values)
