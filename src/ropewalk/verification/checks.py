"""Ways to feed a sequence, each checked against one call with that sequence alone.

The reference is a model that has run nothing before. Each check feeds the same tokens another
way and compares predictions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from types import MappingProxyType

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.verification.gap import Gap
from ropewalk.verification.predictor import (
    Calls,
    LocalPredictor,
    Predictions,
    Predictor,
    SharedPredictor,
)

SHORTEST = 16
FEWEST_BEYOND, MOST_BEYOND = 16, 512
"""Tokens beyond the trained length where none is said: a quarter of it, within these."""
SINGLE_TOKENS = 128
"""Sequences up to this length are decoded from their first token on."""
BEFORE, BEYOND = 16, 80
"""In longer ones, the tokens decoded one by one on either side of the trained length."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Pseudo-random tokens, so that no tokenizer is needed.

    long   int64 ``[n]``
    short  int64 ``[s]``, other tokens; s lies between the trained length and n where n is
           beyond the trained length
    """

    long: Tensor
    short: Tensor

    @classmethod
    def of(cls, model: Predictor, length: int) -> "Sample":
        """``length`` tokens and fewer, of the model's vocabulary.

        Raises RopewalkError for fewer than 16.
        """
        if length < SHORTEST:
            raise RopewalkError(f"length {length}: expected at least {SHORTEST} tokens")
        generator = torch.Generator().manual_seed(0)

        def tokens(count: int) -> Tensor:
            return torch.randint(model.vocabulary_size, (count,), generator=generator)

        crosses = length > model.trained_length
        shorter = (model.trained_length + length) // 2 if crosses else 3 * length // 4
        return cls(long=tokens(length), short=tokens(shorter))


def default_length(trained_length: int) -> int:
    """Tokens of a sequence that crosses the trained length."""
    return trained_length + min(max(trained_length // 4, FEWEST_BEYOND), MOST_BEYOND)


class Reference:
    """A model as it stands, and what single calls predict for the two sequences of a sample.

    short_again  the short one once more, after the long one
    """

    def __init__(self, model: Predictor, sample: Sample) -> None:
        self.model, self.sample = model, sample
        (self.short,) = model.in_turn(sample.short)
        self.long, self.short_again = model.in_turn(sample.long, sample.short)

    def gap(self, way: str, expected: Sequence[Predictions], found: Sequence[Predictions]) -> Gap:
        """Between predictions for the same sequences."""
        return Gap.between(way, expected, found, self.model.vocabulary_size)


Check = Callable[[Reference], Gap]
Checks = Mapping[str, Check]


def chunked(reference: Reference) -> Gap:
    """Chunked prefill, in calls of odd and uneven sizes."""
    ids = reference.sample.long
    calls = uneven_calls(len(ids))
    found = reference.model.in_calls(ids, calls)
    way = f"prefill in {len(calls)} calls of uneven sizes"
    return reference.gap(way, [reference.long], [found])


def decoded(reference: Reference) -> Gap:
    """Token by token across the trained length, after a prefill where the sequence is long."""
    ids = reference.sample.long
    calls = decoding_calls(len(ids), reference.model.trained_length)
    prefill, stop = calls[0][1], calls[-1][1]
    way = (
        f"{stop} tokens one by one"
        if prefill == 1
        else f"prefill of {prefill} tokens, then {stop - prefill} one by one"
    )
    found = reference.model.in_calls(ids[:stop], calls)
    return reference.gap(way, [reference.long], [found])


def padded(reference: Reference) -> Gap:
    """A left-padded row beside a longer one; the worst of the ways to state their positions."""
    short, long = reference.sample.short, reference.sample.long
    way = f"{len(short)} tokens padded on the left beside a row of {len(long)}"
    expected = [reference.short, reference.long]
    found = reference.model.in_batch(short, long)
    gaps = [reference.gap(f"{way}, {name}", expected, rows) for name, rows in found.items()]
    return max(gaps, key=lambda gap: gap.max_logit_difference)


def repeated(reference: Reference) -> Gap:
    """A call after a longer one: does the model remember?"""
    short, long = reference.sample.short, reference.sample.long
    way = f"a call of {len(short)} tokens after one of {len(long)}"
    return reference.gap(way, [reference.short], [reference.short_again])


def alone(reference: Reference) -> Gap:
    """Of a model that several ranks run: one call of which one rank feeds every token."""
    assert isinstance(reference.model, SharedPredictor)
    found = reference.model.alone(reference.sample.long)
    return reference.gap("one rank alone", [reference.long], [found])


CHECKS: Checks = MappingProxyType(
    {"chunked": chunked, "decode": decoded, "padded": padded, "history": repeated}
)
WITHOUT_A_CACHE: Checks = MappingProxyType({"padded": padded, "history": repeated})
"""Those of a bidirectional model, whose sequence comes in one call."""


def over_ranks(checks: Checks) -> Checks:
    """Those of a model that several ranks run: decoding is not shared out, and not checked."""
    kept = {name: check for name, check in checks.items() if name != "decode"}
    return MappingProxyType({**kept, "alone": alone})


def rounding(model: LocalPredictor, reference: Reference) -> Gap:
    """What rounding alone may do: the long sequence, its embeddings moved by one rounding."""
    found = model.one_rounding_away(reference.sample.long)
    return reference.gap("embeddings moved by one rounding", [reference.long], [found])


def uneven_calls(length: int) -> Calls:
    """About ten calls, all odd in size except perhaps the last."""
    calls, start = [], 0
    sizes = cycle((length // 5 | 1, 1, length // 7 | 1, 3))
    while start < length:
        stop = min(start + next(sizes), length)
        calls.append((start, stop))
        start = stop
    return calls


def decoding_calls(length: int, trained_length: int) -> Calls:
    """Single tokens across the trained length, or at the end of what does not reach it."""
    if length <= SINGLE_TOKENS:
        return [(start, start + 1) for start in range(length)]
    prefill = max(min(trained_length, length - BEFORE) - BEFORE, 1)
    stop = min(length, prefill + BEFORE + BEYOND)
    return [(0, prefill), *((start, start + 1) for start in range(prefill, stop))]
