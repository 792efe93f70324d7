"""Does a model compute the same however its tokens are fed? Differences, row by row.

The reference is one call with one sequence, on a model that has run nothing before. Each
check feeds the same tokens another way and compares logits. Only hidden states are kept for
whole sequences; logits are made of a few rows at a time. Where a model has no output layer,
its hidden states are compared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.rotation import work_dtype
from ropewalk.integrations.modes import at_rest, evaluating
from ropewalk.integrations.scoring import decoder_of, family_head

Calls = Sequence[tuple[int, int]]
"""(start, stop) of each call through one key cache, in order."""

SINGLE_TOKENS = 128
"""Sequences up to this length are decoded from their first token on."""
BEFORE, BEYOND = 16, 80
"""In longer ones, the tokens decoded one by one on either side of the trained length."""
PLACED_TOKENS = 2048
"""A batch of longer sequences is fed without ``position_ids`` alone."""
LOGITS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Pseudo-random tokens, so that no tokenizer is needed.

    long   int64 ``[n]``
    short  int64 ``[s]``, other tokens; s lies between the trained length and n where n is
           beyond the trained length
    """

    long: Tensor
    short: Tensor
    trained_length: int

    @classmethod
    def of(cls, model: nn.Module, length: int, trained_length: int) -> "Sample":
        """``length`` tokens and fewer, of the model's vocabulary."""
        device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(0)

        def tokens(count: int) -> Tensor:
            return torch.randint(_vocabulary(model), (count,), generator=generator).to(device)

        crosses = length > trained_length
        shorter = (trained_length + length) // 2 if crosses else 3 * length // 4
        return cls(long=tokens(length), short=tokens(shorter), trained_length=trained_length)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gap:
    """How far one way of feeding is from the reference, row by row.

    way                in words, what was fed how
    positions          int64 ``[rows]``: of each row in its own sequence
    logit_differences  float64 ``[rows]``: largest absolute difference of a logit
    total_variations   float64 ``[rows]``: between the two next-token distributions
    largest_logit      of the reference, in absolute value

    Logits that are not numbers are infinitely far from everything.
    """

    way: str
    positions: Tensor
    logit_differences: Tensor
    total_variations: Tensor
    largest_logit: float

    @property
    def max_logit_difference(self) -> float:
        return float(self.logit_differences.max())

    @property
    def max_total_variation(self) -> float:
        return float(self.total_variations.max())

    def first_beyond(self, tolerance: float) -> int | None:
        """The first position at which a logit differs by more than ``tolerance``."""
        beyond = self.positions[self.logit_differences > tolerance]
        return int(beyond.min()) if len(beyond) else None


class Reference:
    """A model as it stands, and what single calls make of the two sequences of a sample.

    short_again  the short one once more, after the long one
    """

    def __init__(self, model: nn.Module, sample: Sample) -> None:
        self.model, self.sample = model, sample
        with at_rest(model):
            self.short = _states(model, sample.short[None], use_cache=False)[0]
        with at_rest(model):
            self.long = _states(model, sample.long[None], use_cache=False)[0]
            self.short_again = _states(model, sample.short[None], use_cache=False)[0]

    def rounding(self) -> Gap:
        """What rounding alone may do: the long one, its embeddings changed by one rounding."""
        with at_rest(self.model), _rounded_embeddings(self.model):
            found = _states(self.model, self.sample.long[None], use_cache=False)[0]
        return _gap(self.model, "embeddings changed by one rounding", self.long, found)


Check = Callable[[Reference], Gap]
Checks = Mapping[str, Check]


def chunked(reference: Reference) -> Gap:
    """Chunked prefill, in calls of odd and uneven sizes."""
    ids = reference.sample.long
    calls = uneven_calls(len(ids))
    found = fed(reference.model, ids, calls)
    way = f"prefill in {len(calls)} calls of uneven sizes"
    return _gap(reference.model, way, reference.long, found)


def decoded(reference: Reference) -> Gap:
    """Token by token across the trained length, after a prefill where the sequence is long."""
    ids, trained_length = reference.sample.long, reference.sample.trained_length
    calls = decoding_calls(len(ids), trained_length)
    stop = calls[-1][1]
    found = fed(reference.model, ids[:stop], calls)
    prefill = calls[0][1]
    way = (
        f"{stop} tokens one by one"
        if prefill == 1
        else f"prefill of {prefill} tokens, then {stop - prefill} one by one"
    )
    return _gap(reference.model, way, reference.long[:stop], found)


def padded(reference: Reference) -> Gap:
    """A left-padded row beside a longer one, without and with ``position_ids``; the worse one.

    Long sequences without alone.
    """
    sample = reference.sample
    missing = len(sample.long) - len(sample.short)
    ids = torch.stack([torch.cat([sample.short.new_zeros(missing), sample.short]), sample.long])
    mask = torch.ones_like(ids)
    mask[0, :missing] = 0
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    expected = torch.cat([reference.short, reference.long])
    gaps = []
    ways: list[tuple[str, dict[str, Tensor]]] = [("without", {})]
    if len(sample.long) <= PLACED_TOKENS:
        ways.append(("with", {"position_ids": positions}))
    for word, given in ways:
        with at_rest(reference.model):
            states = _states(reference.model, ids, attention_mask=mask, use_cache=False, **given)
        way = (
            f"{len(sample.short)} tokens padded on the left beside a row of {len(sample.long)}, "
            f"{word} position_ids"
        )
        found = torch.cat([states[0, missing:], states[1]])
        gaps.append(_gap(reference.model, way, expected, found, mask.cumsum(-1)[mask.bool()] - 1))
    return max(gaps, key=lambda gap: gap.max_logit_difference)


def repeated(reference: Reference) -> Gap:
    """A call after a longer one: does the model remember?"""
    sample = reference.sample
    way = f"a call of {len(sample.short)} tokens after one of {len(sample.long)}"
    return _gap(reference.model, way, reference.short, reference.short_again)


CHECKS: Checks = MappingProxyType(
    {"chunked": chunked, "decode": decoded, "padded": padded, "history": repeated}
)
WITHOUT_A_CACHE: Checks = MappingProxyType({"padded": padded, "history": repeated})
"""Those of a bidirectional model, whose sequence comes in one call."""


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


def fed(model: nn.Module, ids: Tensor, calls: Calls) -> Tensor:
    """Last hidden states ``[n, width]`` of one sequence, through a cache; at rest before."""
    states, cache = [], None
    with at_rest(model):
        for start, stop in calls:
            out = decoder_of(model)(ids[None, start:stop], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            states.append(out.last_hidden_state[0])
    return torch.cat(states)


@contextmanager
def _rounded_embeddings(model: Any) -> Iterator[None]:
    """Every number an embedding holds is one rounding away, up or down."""
    generator = torch.Generator().manual_seed(0)

    def change(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        signs = torch.randint(0, 2, out.shape, generator=generator).to(out) * 2 - 1
        return out + out * signs * torch.finfo(out.dtype).eps

    handle = model.get_input_embeddings().register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


def _vocabulary(model: Any) -> int:
    return int(model.get_input_embeddings().num_embeddings)


def _states(model: nn.Module, ids: Tensor, **inputs: Any) -> Tensor:
    states: Tensor = decoder_of(model)(ids, **inputs).last_hidden_state
    return states


@torch.no_grad()
def _gap(
    model: nn.Module, way: str, expected: Tensor, found: Tensor, positions: Tensor | None = None
) -> Gap:
    """Compare two runs of hidden states ``[rows, width]`` by the logits that they lead to."""
    rows = max(1, LOGITS_AT_ONCE // _vocabulary(model))
    with evaluating(model), family_head(model) as head:
        blocks = [
            _distances(head(a), head(b))
            for a, b in zip(torch.split(expected, rows), torch.split(found, rows), strict=True)
        ]
    differences, variations, largest = zip(*blocks, strict=True)
    return Gap(
        way=way,
        positions=torch.arange(len(expected)) if positions is None else positions.cpu(),
        logit_differences=torch.cat(differences).cpu(),
        total_variations=torch.cat(variations).cpu(),
        largest_logit=max(largest),
    )


def _distances(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, float]:
    """Of logits ``[rows, vocabulary]``: differences, total variations, the largest of ``a``."""
    wide = work_dtype(a.dtype)
    a, b = a.to(wide), b.to(wide)
    # Equal infinities (entries that a family masks) do not differ.
    differences = torch.where(a == b, 0.0, (a - b).abs()).amax(dim=-1).double()
    variations = (a.softmax(dim=-1) - b.softmax(dim=-1)).abs().sum(dim=-1).double() / 2
    largest = a.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max()
    return differences.nan_to_num(nan=torch.inf), variations.nan_to_num(nan=1.0), float(largest)
