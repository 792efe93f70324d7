"""Sharing out is proven: a model that ranks read together gives what one of them gives alone.

Attention is where tokens meet. A family in which they meet elsewhere too (a convolution, a
recurrent state) gives something else on each rank, and is refused.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.cache_names import cache_argument, cache_in
from ropewalk.integrations.feeding import WHOLE, Feeding
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.output_layer import decoder_of
from ropewalk.integrations.probe import probe_ids, running
from ropewalk.integrations.ranked.shares import share_of
from ropewalk.ranks.ranks import Ranks

ROOM, ROUGH = 1e-4, 5e-2
"""Relative differences that rounding makes; of 16-bit models."""


def prove_shared(
    model: nn.Module,
    family: str,
    ranks: Ranks,
    put: Callable[[Feeding], AbstractContextManager[Any]],
    feeding: Feeding,
) -> None:
    """Compare a few tokens, in one call and in two, fed here alone and by all ranks.

    Raises RopewalkError on every rank where they differ on any.
    """
    ids = _ids(model, ranks.size)
    for calls in ([ids.shape[1]], [ids.shape[1] // 2, ids.shape[1] - ids.shape[1] // 2]):
        with put(WHOLE):
            alone = _states(model, ids, calls)
        with put(feeding):
            shared = _states(model, ids, calls)
        worst = max(ranks.each_has(_difference(ranks, alone, shared)))
        room = ROOM if ids.new_empty(0, dtype=alone[0].dtype).element_size() > 2 else ROUGH
        if not worst <= room:
            raise RopewalkError(
                f"{family} over {ranks.size} ranks gives something else than on one, by "
                f"{worst:.1e} of the largest (at most {room:.0e} expected): its tokens meet "
                "outside of attention; run it on one rank"
            )


def _ids(model: nn.Module, ranks: int) -> Tensor:
    """Two tokens for each rank, and one more, at least."""
    few = probe_ids(model)
    return few.repeat(1, -(-(4 * ranks + 1) // few.shape[1]))


@torch.no_grad()
def _states(model: nn.Module, ids: Tensor, calls: list[int]) -> list[Tensor]:
    """Last hidden states ``[1, ., width]`` of the tokens fed here, of each call."""
    decoder, states, cache, start = decoder_of(model), [], None, 0
    with at_rest(model), running(model, "over ranks"):
        for count in calls:
            given = cache_argument(decoder, cache)
            out = decoder(ids[:, start : start + count], use_cache=len(calls) > 1, **given)
            states.append(out.last_hidden_state)
            cache, start = cache_in(out), start + count
    return states


def _difference(ranks: Ranks, alone: list[Tensor], shared: list[Tensor]) -> float:
    """The largest, relative; not a number where shapes or numbers do not fit."""
    worst = 0.0
    for one, other in zip(alone, shared, strict=True):
        expected = share_of(ranks, one.shape[1]).own(one)
        if expected.shape != other.shape:
            return float("inf")
        scale = one.double().abs().max().clamp(min=1e-30)
        difference = (expected.double() - other.double()).abs().max() / scale
        worst = max(worst, float(difference.nan_to_num(nan=torch.inf)))
    return worst
