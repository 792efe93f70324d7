"""Passes that are shared out over ranks, and attention over what they exchange."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.attention.call import Call
from ropewalk.attention.softmax import Softmax
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.cache_names import cache_argument
from ropewalk.integrations.call import CallRows
from ropewalk.integrations.feeding import Feeding
from ropewalk.integrations.forward_arguments import ForwardArguments
from ropewalk.integrations.layer_attention import LayerAttention
from ropewalk.integrations.ranked.cache import RankedCache
from ropewalk.integrations.ranked.proof import prove_shared
from ropewalk.integrations.ranked.shares import RankedShare, share_of
from ropewalk.ranks.cutting import Heads, key_shares
from ropewalk.ranks.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverRanks(Feeding):
    """Each rank feeds some tokens of every pass; positions and lengths are those of the whole."""

    asks_attention = True

    ranks: Ranks

    def prepared(self, given: ForwardArguments) -> ForwardArguments:
        if given.mask is not None and given.mask.ndim != 2:
            raise RopewalkError(
                "a ready-made attention mask over ranks: expected a 2-D padding mask of the whole "
                "sequence, or none"
            )
        if given.cache is not None and not isinstance(given.cache, RankedCache):
            raise RopewalkError(
                f"a {type(given.cache).__name__} over ranks: expected none, or one that a pass "
                "over ranks made"
            )
        if given.cache is not None or not (given.takes_cache and given.makes_cache):
            return given
        decoder: Any = given.decoder
        made = cache_argument(decoder, RankedCache(decoder.config))
        return replace(given, named={**given.named, **made})

    def share(self, given: ForwardArguments) -> RankedShare:
        if given.tokens is None:
            raise RopewalkError("a pass without tokens: expected input_ids or inputs_embeds")
        return share_of(self.ranks, given.tokens, given.cache)

    def attending(self, attention: LayerAttention, layer: int | None) -> LayerAttention:
        return ExchangedAttention(attention=attention, layer=layer)

    def prove(
        self,
        model: nn.Module,
        family: str,
        put: Callable[[Feeding], AbstractContextManager[Any]],
    ) -> None:
        prove_shared(model, family, self.ranks, put, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangedAttention:
    """A layer's attention over whole sequences of this rank's heads.

    layer  its number in the cache; None for none
    """

    attention: LayerAttention
    layer: int | None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        rows = call.rows
        assert isinstance(rows, CallRows)
        share = rows.share
        assert isinstance(share, RankedShare)
        if torch.is_grad_enabled() and q.requires_grad:
            raise RopewalkError(
                "gradients over ranks: expected a pass under torch.no_grad(); train on one rank"
            )
        ranks, count = share.ranks, q.shape[1]
        heads = Heads.of(ranks.rank, ranks.size, count)
        k, v = (heads.in_groups(*held) for held in self._held(share, k, v))
        own = self.attention.of_heads(heads.first, count)
        out = own.attend(share.queries(q), k, v, call, _of_heads(softmax, heads))
        return share.outputs(out, count)

    def _held(self, share: RankedShare, k: Tensor, v: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Keys and values of own heads and all tokens, G, and the number of the first head."""
        ranks, every = share.ranks, k.shape[1]
        if share.cache is None:
            k, v = share.keys(k), share.keys(v)
        else:
            cached = share.cache.key_heads(self.layer)
            if every == len(key_shares(cached, ranks.size)[ranks.rank]):
                every = cached
            else:  # latent attention makes the keys of all heads of what every rank has cached
                own = key_shares(every, ranks.size)[ranks.rank]
                k, v = (x[:, own.start : own.stop] for x in (k, v))
        first = key_shares(every, ranks.size)[ranks.rank].start
        yield from ((x, every, first) for x in (k, v))

    def of_heads(self, first: int, all_heads: int) -> LayerAttention:
        return replace(self, attention=self.attention.of_heads(first, all_heads))


def _of_heads(softmax: Softmax, heads: Heads) -> Softmax:
    if softmax.sinks is None:
        return softmax
    return replace(softmax, sinks=softmax.sinks[heads.first : heads.first + heads.count])
