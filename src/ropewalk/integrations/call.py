"""What one call of a transformers model knows about positions.

The mask function is the one place that sees the padding mask, the offsets of the cache and
the architecture's own mask together. It makes no mask: it hands down a ``CallMask``, from
which attention takes positions and, block by block, the pairs that may attend. At 16,384
tokens a ready-made mask would take 256 MB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import causal_mask_function

from ropewalk.attention.call import Call
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rows import Rows

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

UNMASKED_PACKING = (
    "position_ids that start again or leap, with a key cache, a mask or both ways to look: "
    "expected one sequence a row; call a causal model with use_cache=False and no mask, or "
    "unpack the batch"
)
"""The library masks packed sequences apart only where it is given neither mask nor cache."""


class Horizon(Enum):
    """What is known about keys that come after a row."""

    CAUSAL = "none is seen"
    MASKED = "the mask function says which are seen"
    BOTH_WAYS = "those within reach are seen: a bidirectional model"

    @classmethod
    def of(cls, mask_function: MaskFunction, settings: Mapping[str, Any]) -> "Horizon":
        """From the mask function, and whether the library itself would call it causal."""
        if mask_function is causal_mask_function or settings.get("allow_is_causal_skip", False):
            return cls.CAUSAL
        # The library names the second setting for bidirectional masks alone, sliding ones too.
        both_ways = "allow_is_bidirectional_skip" in settings
        return cls.BOTH_WAYS if both_ways else cls.MASKED


@dataclass(frozen=True, slots=True, eq=False)
class CallRows(Rows):
    """Rows of one call, at the positions that each sequence's own tokens have.

    query_offset, key_offset  indices of the first query and key in the cache's count
    mask_function             the architecture's: (batch, head, query, key) indices -> bool
    padding                   bool ``[b, >= n]``: real tokens, by cache index; or None
    window                    of a sliding layer, in tokens; or None
    horizon                   how far ahead a row may see
    """

    query_positions: Tensor
    key_positions: Tensor
    query_offset: int
    key_offset: int
    mask_function: MaskFunction
    padding: Tensor | None
    window: int | None
    horizon: Horizon

    @property
    def length_index(self) -> Tensor:
        if self.horizon is not Horizon.BOTH_WAYS:
            return self.query_positions
        return (self.sequence_lengths[:, None] - 1).expand(self.query_positions.shape)

    @property
    def plain_causal(self) -> bool:
        """Nothing but n <= m decides."""
        return self.padding is None and self.mask_function is causal_mask_function

    def allowed(self, first: int, last: int) -> tuple[int, Tensor | None]:
        keys = self.key_positions.shape[1]
        stop = keys
        if self.horizon is Horizon.CAUSAL:
            stop = min(keys, self.query_offset + last - self.key_offset)
        if self.plain_causal and last - first == 1:
            return stop, None
        return stop, self._mask(first, last, stop)

    def _mask(self, first: int, last: int, stop: int) -> Tensor:
        """Bool ``[b or 1, 1, last - first, stop]``."""
        device = self.query_positions.device
        query = torch.arange(first, last, device=device) + self.query_offset
        key = torch.arange(stop, device=device) + self.key_offset
        batch = torch.arange(len(self.query_positions), device=device)
        head = torch.zeros(1, dtype=torch.long, device=device)
        mask = self.mask_function(
            batch[:, None, None, None],
            head[None, :, None, None],
            query[None, None, :, None],
            key[None, None, None, :],
        )
        if self.padding is not None:
            mask = mask & _padded(self.padding, stop + self.key_offset)[:, None, None, key]
        return mask

    def at(self, position_ids: Tensor | None) -> "CallRows":
        """These rows at the positions that the caller gave, where those say more.

        With a padding mask the mask decides: a plain forward passes 0 .. n-1 for a padded
        batch. Without one, ``position_ids`` may start anywhere, or start again (sequences
        packed in one row, which the library masks only where there is no cache).
        """
        if position_ids is None or self.padding is not None:
            return self
        position_ids = position_ids.expand(self.query_positions.shape)
        if torch.equal(position_ids, self.query_positions):
            return self
        steps = position_ids.diff(dim=-1)
        if bool((steps == 1).all()):
            first = position_ids[:, :1] - self.query_offset
            keys = self.key_positions - self.key_positions[:, :1] + self.key_offset
            return replace(self, query_positions=position_ids, key_positions=keys + first)
        self._refuse_unmasked_packing(steps)
        return replace(self, query_positions=position_ids, key_positions=position_ids)

    def _refuse_unmasked_packing(self, steps: Tensor) -> None:
        restart = int((steps != 1).any(dim=0).nonzero()[0]) + 1
        stop, mask = self.allowed(restart, restart + 1)
        if mask is not None:
            mask = mask.expand(*mask.shape[:-1], stop)
        masked = mask is not None and not bool(mask[..., restart - 1].all())
        if self.query_positions.shape != self.key_positions.shape or not masked:
            raise RopewalkError(UNMASKED_PACKING)


class CallMask(Tensor):
    """An empty 4-D tensor that carries the rows of a call to the attention function.

    A tensor, because ``generate`` calls tensor methods on masks and passes a 4-D mask on
    as it is; empty, because it holds no mask.
    """

    call: Call
    _answered: tuple[Tensor | None, Call]

    @classmethod
    def of(cls, rows: CallRows) -> "CallMask":
        batch, queries = rows.query_positions.shape
        mask = torch.empty(batch, 1, queries, 0).as_subclass(cls)
        mask.call = Call(rows)
        mask._answered = None, mask.call
        return mask

    def call_at(self, position_ids: Tensor | None) -> Call:
        """The call at ``position_ids``, once for all its layers, which pass the same tensor."""
        asked, _ = self._answered
        if asked is not position_ids:
            assert isinstance(self.call.rows, CallRows)
            rows = self.call.rows.at(position_ids)
            call = self.call if rows is self.call.rows else Call(rows)
            self._answered = position_ids, call
        return self._answered[1]


def call_mask(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int | Tensor = 0,
    mask_function: MaskFunction,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    device: torch.device | str = "cpu",
    **settings: Any,
) -> CallMask:
    """A mask function in the signature of transformers' ``AttentionMaskInterface``."""
    q_offset, kv_offset = int(q_offset), int(kv_offset)
    padding = None if attention_mask is None or attention_mask.all() else attention_mask.bool()
    query_index = torch.arange(q_length, device=device) + q_offset
    key_index = torch.arange(kv_length, device=device) + kv_offset
    positions = own_positions(padding, batch_size, max(q_offset + q_length, kv_offset + kv_length))
    positions = positions.to(device)
    rows = CallRows(
        query_positions=positions[:, query_index],
        key_positions=positions[:, key_index],
        query_offset=q_offset,
        key_offset=kv_offset,
        mask_function=mask_function,
        padding=padding,
        window=local_size,
        horizon=Horizon.of(mask_function, settings),
    )
    return CallMask.of(rows)


def own_positions(padding: Tensor | None, batch: int, length: int) -> Tensor:
    """Position ``[b, length]`` of each cache index among its sequence's real tokens.

    An index beyond the padding mask (an empty slot of a static cache) counts on.
    """
    if padding is None:
        return torch.arange(length).expand(batch, length)
    return (_padded(padding, length).long().cumsum(dim=-1) - 1).clamp(min=0)


def _padded(padding: Tensor, length: int) -> Tensor:
    missing = length - padding.shape[1]
    if missing <= 0:
        return padding[:, :length]
    return torch.cat([padding, padding.new_ones(len(padding), missing)], dim=-1)
