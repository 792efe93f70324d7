"""What a key cache says of the un-rotated keys in it.

The library's cache holds tensors and nothing else. Keys that are left un-rotated may only be read
under an extension, and at the positions that they were given. So a cache that an extended model
fills carries a record, and a pass that finds keys for which the record does not speak is refused.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import find_first_full_attention_index

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.kept_keys import KeptKeys

RECORD = "ropewalk_record"
"""Attribute of a cache. A copy of the cache has it too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyRecord:
    """Of un-rotated keys.

    tokens     how many a layer holds
    positions  int64 ``[b, tokens]`` where the caller gave others than each sequence's own count;
               None where it did not
    admitted   tokens of each sequence after the call that began it, int64 ``[b]``
    keys       of the first layer: those of a cropped cache start at the same place in memory
    """

    tokens: int
    positions: Tensor | None = None
    admitted: Tensor | None = None
    keys: Tensor | None = None

    def speaks_for(self, tokens: int, keys: Tensor | None) -> bool:
        """Whether a cache of so many tokens holds these keys, or the first of them.

        Keys that were evicted lie elsewhere; keys that somebody else added are more.
        """
        if tokens < self.tokens and self.keys is not None and keys is not None:
            return self.keys.data_ptr() == keys.data_ptr()
        return tokens <= self.tokens


class CacheAtEntry:
    """The key cache of a pass, as the pass found it.

    tokens     of a layer before the pass
    positions  those of them that a caller once gave, int64 ``[b, tokens]``; None for own ones
    admitted   tokens of each sequence after the pass that began it, this one or an earlier one
    kept       keys that earlier steps rotated
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.tokens = _tokens(cache)
        self.positions: Tensor | None = None
        self.admitted: Tensor | None = None
        self.kept = KeptKeys(cache)
        self._noted: Tensor | None = None
        self._unrotated = False

    def admit_unrotated(self) -> None:
        """Raise RopewalkError unless all keys in it are un-rotated and at known positions."""
        self._unrotated = True
        if self.tokens == 0:
            return
        record = getattr(self._cache, RECORD, None)
        if record is None or not record.speaks_for(self.tokens, _keys(self._cache)):
            raise RopewalkError(
                f"a key cache of {self.tokens} tokens that this extension did not fill (a learned "
                "prefix, say), or from which keys were taken: its un-rotated keys have no known "
                "positions; expected an empty cache or one that only extended calls wrote to; "
                "start from the whole prompt"
            )
        # Taken out until the pass leaves: else the keys that it replaces would stay in memory.
        delattr(self._cache, RECORD)
        self.admitted = record.admitted
        if record.positions is not None:
            self.positions = record.positions[:, : self.tokens]

    def begin(self, sequence_lengths: Tensor) -> None:
        """Tokens of each sequence after the pass, int64 ``[b]``: kept if it is the first."""
        if self.admitted is None:
            self.admitted = sequence_lengths

    def note(self, positions: Tensor | None) -> None:
        """Positions ``[b, n]`` of all tokens after the pass, where the caller gave others."""
        self._noted = positions

    def leave(self, made: Any) -> None:
        """Write the record, into the cache that came in or that the pass ``made``."""
        cache = made if self._cache is None else self._cache
        if self._unrotated and isinstance(cache, Cache):
            vouch(cache, self._noted, self.admitted)


def vouch(cache: Cache, positions: Tensor | None = None, admitted: Tensor | None = None) -> None:
    """Record that all keys of ``cache`` are un-rotated, where they stand and how they began."""
    record = KeyRecord(
        tokens=_tokens(cache), positions=positions, admitted=admitted, keys=_keys(cache)
    )
    setattr(cache, RECORD, record)


def _tokens(cache: Any) -> int:
    if cache is None:
        return 0
    if isinstance(cache, Cache):
        return int(cache.get_seq_length(find_first_full_attention_index(cache)))
    return int(cache.get_seq_length())


def _keys(cache: Cache) -> Tensor | None:
    layer = cache.layers[find_first_full_attention_index(cache)] if cache.layers else None
    if type(layer) is not DynamicLayer or not layer.is_initialized or layer.keys is None:
        return None
    return layer.keys
