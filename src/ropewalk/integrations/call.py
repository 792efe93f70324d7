"""What one forward pass of a transformers model knows about positions.

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
from ropewalk.integrations.entrance import arrival
from ropewalk.integrations.feeding import Share
from ropewalk.integrations.key_record import CacheAtEntry
from ropewalk.integrations.positions import UNMASKED_PACKING, own_positions, padded_to, restarts

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
_CAUSAL: Any = causal_mask_function  # annotated for numbers, called with tensors


class Horizon(Enum):
    """What is known about keys that come after a row."""

    CAUSAL = "none is seen"
    MASKED = "the mask function says which are seen"
    BOTH_WAYS = "those within reach are seen: a bidirectional model"

    @classmethod
    def of(cls, mask_function: MaskFunction, settings: Mapping[str, Any]) -> "Horizon":
        """From the mask function, and whether the library itself would call it causal."""
        if mask_function is _CAUSAL or settings.get("allow_is_causal_skip", False):
            return cls.CAUSAL
        # The library names the second setting for bidirectional masks alone, sliding ones too.
        both_ways = "allow_is_bidirectional_skip" in settings
        return cls.BOTH_WAYS if both_ways else cls.MASKED


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CallRows(Rows):
    """Rows of one pass, at the positions that each sequence's own tokens have or were given.

    query_offset, key_offset  indices of the first query and key in the cache's count
    mask_function             the architecture's: (batch, head, query, key) indices -> bool
    padding                   bool ``[b, >= n]``: real tokens, by cache index; or None
    window                    of a sliding layer, in tokens; or None
    horizon                   how far ahead a row may see
    cache                     the key cache as the pass found it; None before it came in
    share                     which of these rows are fed here; None for all
    """

    query_positions: Tensor
    key_positions: Tensor
    query_offset: int
    key_offset: int
    mask_function: MaskFunction
    padding: Tensor | None
    window: int | None
    horizon: Horizon
    cache: CacheAtEntry | None = None
    share: Share | None = None

    @property
    def length_index(self) -> Tensor:
        if self.horizon is not Horizon.BOTH_WAYS:
            return self.query_positions
        return (self.sequence_lengths[:, None] - 1).expand(self.query_positions.shape)

    @property
    def admitted_lengths(self) -> Tensor:
        if self.cache is None:
            return self.sequence_lengths
        before = self.cache.admitted
        if before is None or len(before) != len(self.query_positions):
            raise RopewalkError(
                f"{len(self.query_positions)} sequences over a key cache that knows not at which "
                "length each was admitted (policy=at_admission): expected those that began it; "
                "start from the whole prompt"
            )
        return before.to(self.query_positions.device)

    @property
    def plain_causal(self) -> bool:
        """Nothing but n <= m decides."""
        return self.padding is None and self.mask_function is _CAUSAL

    @property
    def visible(self) -> tuple[Tensor, Tensor] | None:
        if not self.plain_causal:
            return None
        count, keys = self.query_positions.shape[1], self.key_positions.shape[1]
        before = self.query_offset - self.key_offset
        device = self.query_positions.device
        stop = (torch.arange(before, before + count, device=device)[None] + 1).clamp(max=keys)
        return torch.zeros_like(stop), stop

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
            mask = mask & padded_to(self.padding, stop + self.key_offset)[:, None, None, key]
        return mask

    def to(self, device: torch.device) -> "CallRows":
        """The same on another device."""
        return replace(
            self,
            query_positions=self.query_positions.to(device),
            key_positions=self.key_positions.to(device),
            padding=None if self.padding is None else self.padding.to(device),
        )

    def entered(self, position_ids: Tensor | None, cache: CacheAtEntry) -> "CallRows":
        """These rows once the pass came in, at the positions that its caller gave.

        Given positions are the rotation's, and the keys of the cache keep theirs; the padding
        mask says what is seen. Raises RopewalkError for sequences packed in one row that no mask
        keeps apart.
        """
        rows = replace(self, cache=cache)
        if position_ids is not None and self._are_own(position_ids):
            position_ids = None
        if position_ids is None and cache.positions is None:
            cache.note(None)
        else:
            rows = rows._moved(self._every_position(position_ids, cache.positions), cache)
        cache.begin(rows.sequence_lengths)
        return rows

    def _are_own(self, position_ids: Tensor) -> bool:
        """Whether they are each sequence's own count, whatever they say of padding."""
        same = position_ids == self.query_positions
        if self.padding is not None:
            first, count = self.query_offset, same.shape[1]
            same = same | ~padded_to(self.padding, first + count)[:, first : first + count]
        return bool(same.all())

    def _every_position(self, given: Tensor | None, before: Tensor | None) -> Tensor:
        """``[b, n]`` by cache index, of all that the pass reads and writes."""
        first, (batch, count) = self.query_offset, self.query_positions.shape
        total = max(first + count, self.key_offset + self.key_positions.shape[1])
        device = self.query_positions.device
        every = own_positions(self.padding, batch, total, device).clone()
        if before is not None:
            every[:, : before.shape[1]] = before
        if given is not None:
            every[:, first : first + count] = given
        return every

    def _moved(self, every: Tensor, cache: CacheAtEntry) -> "CallRows":
        queries, keys = self.query_positions.shape[1], self.key_positions.shape[1]
        stop = self.query_offset + queries
        rows = replace(
            self,
            query_positions=every[:, self.query_offset : stop],
            key_positions=every[:, self.key_offset : self.key_offset + keys],
        )
        rows._refuse_unmasked_packing(every[:, :stop])
        cache.note(every[:, :stop])
        return rows

    def _refuse_unmasked_packing(self, every: Tensor) -> None:
        real = None if self.padding is None else padded_to(self.padding, every.shape[1])
        again = restarts(every, real).any(dim=0).nonzero()
        for restart in (int(each) + 1 for each in again):
            row = restart - self.query_offset
            if row < 0 or self.key_offset:
                raise RopewalkError(UNMASKED_PACKING)
            stop, mask = self.allowed(row, row + 1)
            if mask is None or bool(mask.expand(*mask.shape[:-1], stop)[..., restart - 1].all()):
                raise RopewalkError(UNMASKED_PACKING)


class CallMask(Tensor):
    """An empty 4-D tensor that carries a call to the attention function.

    A tensor, because ``generate`` calls tensor methods on masks and passes a 4-D mask on
    as it is; empty, because it holds no mask. What tensor methods make of it carries the call on.
    """

    call: Call

    @classmethod
    def of(cls, rows: CallRows) -> "CallMask":
        """For a pass with these rows."""
        batch, queries = rows.query_positions.shape
        empty = torch.empty(batch, 1, queries, 0, device=rows.query_positions.device)
        mask = empty.as_subclass(cls)
        mask.call = Call(rows)
        return mask

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(  # type: ignore[no-untyped-call]  # torch's own has none
            func, types, args, kwargs or {}
        )
        source = next((each for each in args if isinstance(each, cls)), None)
        if isinstance(result, cls) and source is not None and "call" in vars(source):
            result.call = source.call
        return result

    def entered(self, position_ids: Tensor | None, cache: CacheAtEntry) -> "CallMask":
        """The mask of a pass that came in with a mask made before."""
        assert isinstance(self.call.rows, CallRows)
        return CallMask.of(self.call.rows.entered(position_ids, cache))


@torch.compiler.disable  # type: ignore[untyped-decorator]
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
    here = arrival()
    share = None if here is None else here.share
    if share is not None:
        q_length, kv_length = share.tokens, share.covered(q_length, kv_length)
    padding = None
    if attention_mask is not None and not attention_mask.all():
        padding = attention_mask.bool().to(device)
    total = max(q_offset + q_length, kv_offset + kv_length)
    positions = own_positions(padding, batch_size, total, device)
    rows = CallRows(
        query_positions=positions[:, q_offset : q_offset + q_length],
        key_positions=positions[:, kv_offset : kv_offset + kv_length],
        query_offset=q_offset,
        key_offset=kv_offset,
        mask_function=mask_function,
        padding=padding,
        window=local_size,
        horizon=Horizon.of(mask_function, settings),
        share=share,
    )
    return CallMask.of(rows if here is None else rows.entered(here.position_ids, here.cache))
