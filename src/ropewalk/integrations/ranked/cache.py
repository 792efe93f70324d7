"""A key cache over ranks: each holds its own key heads of the whole sequence.

    memory of a rank = ceil(G / P) / G of the cache,  G key heads, P ranks

A key travels once, when it is written. The latent of latent attention is one key head, which every
rank has.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.entrance import arrival
from ropewalk.integrations.ranked.shares import RankedShare


class RankedCache(DynamicCache):
    """The library's own cache, which is handed what the pass at hand has exchanged."""

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self._key_heads: dict[int, int] = {}

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens fed here, of all heads; back come all of own heads."""
        here = arrival()
        share = None if here is None else here.share
        if not isinstance(share, RankedShare) or share.cache is not self:
            raise RopewalkError(
                "a key cache over ranks outside of a pass over ranks: expected the passes of the "
                "model that made it; start from the whole prompt"
            )
        self._key_heads[layer_idx] = key_states.shape[1]
        keys, values = share.keys(key_states), share.keys(value_states)
        both: tuple[Tensor, Tensor] = super().update(keys, values, layer_idx, *args, **kwargs)
        return both

    def key_heads(self, layer: int | None) -> int:
        """G of a layer, on all ranks together."""
        if layer is None or layer not in self._key_heads:
            raise RopewalkError(
                "a layer over ranks that reads keys of another one: expected each to write its "
                "own; run this model on one rank"
            )
        return self._key_heads[layer]
