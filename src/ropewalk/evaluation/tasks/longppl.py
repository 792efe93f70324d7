"""LongPPL: the loss at key tokens, those that a long context makes predictable.

    key tokens   loss_short - loss_long > 2  and  loss_long < 2     (nats, by an evaluator)
    LongPPL      exp(mean loss at the key tokens)

loss_short, loss_long  of the same targets with a short and a long context before them

The evaluator is the model itself as it ships, at its trained length, or another model; so all
methods and lengths are scored at the same tokens. Beside it stands the context gain: loss_short
minus the loss at this length, over all targets.

Source: Fang et al. 2024, What is Wrong with Perplexity for Long-context Language Modeling?,
arXiv:2410.23771, equations 4 to 7 (alpha 2, beta -2).
Deviation: the short context is a quarter of the long one (at least twice the scored tokens), and
ends where the long one ends; the paper's is 4,096 tokens before each target.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import FullPass, Pass
from ropewalk.evaluation.bootstrap import figure, interval
from ropewalk.evaluation.protocols.protocol import Sharing
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.tasks.loss import Loss
from ropewalk.evaluation.tasks.task import Advance, Task
from ropewalk.evaluation.units import Metric, Ratio, Unit, total

GAIN_NATS = 2.0
LARGEST_NATS = 2.0
LONGPPL = Metric(name="longppl")
"""Nats over key tokens."""
GAIN = Metric(name="gain")
"""Nats over scored tokens."""
Place = tuple[int, int]
"""Numbers of a document and of a window in it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyTokens:
    """Of the targets of one window: which are key tokens, and their losses with little context."""

    mask: Tensor
    short: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LongPPL(Task):
    """The loss at key tokens of windows that hold any.

    loss       the targets, by the protocol ``tail``
    keys       by document and window
    evaluator  who found the key tokens, and with which contexts
    fewest     windows with key tokens that are enough; below, a cell is refused
    """

    loss: Loss
    keys: Mapping[Place, KeyTokens]
    evaluator: str
    fewest: int = 2

    @property
    def text(self) -> str:
        return f"{LONGPPL.name}:{self.evaluator}"

    @property
    def metric(self) -> Metric:
        return LONGPPL

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return self.loss.groups(lengths, sharing)

    def check(self, length: int) -> None:
        self.loss.check(length)
        if len(self.keys) < self.fewest:
            raise RopewalkError(
                f"longppl: {len(self.keys)} of the windows hold a key token (a loss that falls by "
                f"{GAIN_NATS:g} nats with the long context, to less than {LARGEST_NATS:g}); "
                f"expected at least {self.fewest}; give a longer text or more --windows"
            )

    def cost(self, lengths: Sequence[int], split: Pass) -> float:
        return self.loss.cost(lengths, split)

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
            losses = losses_by_window(self.loss, model, length, split, batch, advance)
            found[length] = tuple(_unit(at, losses[at], key) for at, key in self.keys.items())
        return found

    def fields(self, units: Sequence[Unit]) -> dict[str, Any]:
        """value in nats at key tokens; ``longppl`` holds its exponential and the context gain."""
        nats, spread, gain = figure(units, LONGPPL), interval(units, LONGPPL), interval(units, GAIN)
        return {
            "task": LONGPPL.name,
            "metric": LONGPPL.name,
            "value": nats,
            "ci95": [spread.low, spread.high] if spread else None,
            "ci95_over": spread.drawn if spread else None,
            "longppl": {
                "ppl": math.exp(nats) if nats < 700 else None,
                "key_tokens": int(total(units, LONGPPL).denominator),
                "tokens": int(total(units, GAIN).denominator),
                "gain": figure(units, GAIN),
                "gain_ci95": [gain.low, gain.high] if gain else None,
            },
        }


def longppl(loss: Loss, evaluator: LanguageModel, trained_length: int, name: str) -> LongPPL:
    """The task, its key tokens found by ``evaluator`` at its trained length.

    name  of the evaluator, with which cells are kept

    Raises RopewalkError for another protocol than ``tail``. Too few key tokens are told by
    ``LongPPL.check``.
    """
    if not isinstance(loss.protocol, Tail):
        raise RopewalkError(f"longppl with protocol {loss.protocol.name}: expected protocol tail")
    short = max(2 * loss.protocol.tokens, trained_length // 4)
    if short >= trained_length:
        raise RopewalkError(
            f"longppl: {loss.protocol.tokens} scored tokens leave no shorter context below the "
            f"trained length {trained_length}; ask for at most {(trained_length - 1) // 2} by "
            "--tail-tokens"
        )
    loss.check(trained_length)
    near = losses_by_window(loss, evaluator, short, FullPass(), 1, _unheard)
    far = losses_by_window(loss, evaluator, trained_length, FullPass(), 1, _unheard)
    masks = {at: is_key(near[at], far[at]) for at in near}
    return LongPPL(
        loss=loss,
        keys={at: KeyTokens(mask=m, short=near[at]) for at, m in masks.items() if m.any()},
        evaluator=f"evaluator={name},short={short},long={trained_length}",
    )


def is_key(short: Tensor, long: Tensor) -> Tensor:
    """Which tokens are key tokens, from their losses with a short and a long context."""
    return (short - long > GAIN_NATS) & (long < LARGEST_NATS)


def losses_by_window(
    loss: Loss, model: LanguageModel, length: int, split: Pass, batch: int, advance: Advance
) -> dict[Place, Tensor]:
    """Losses of the targets of each window with ``length`` tokens, float64 ``[targets]`` each."""
    found: dict[Place, Tensor] = {}
    for passage, losses in loss.passages(model, (length,), split, batch=batch, advance=advance):
        for scored in passage.span.scored:
            first = passage.span.first
            window = losses[scored.first - first : scored.last - first]
            found[passage.number, scored.window] = window
    return found


def _unit(at: Place, losses: Tensor, key: KeyTokens) -> Unit:
    nats, gained = losses[key.mask].sum().item(), (key.short - losses).sum().item()
    values = {
        LONGPPL.name: Ratio(nats, int(key.mask.sum())),
        GAIN.name: Ratio(gained, len(losses)),
    }
    return Unit(document=at[0], window=at[1], values=values)


def _unheard(cost: float) -> None:
    """Finding key tokens belongs to no cell."""
