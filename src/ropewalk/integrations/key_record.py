"""What a key cache says of the un-rotated keys in it.

The library's cache holds tensors and nothing else. Keys that are left un-rotated may only be read
under an extension, and at the positions that they were given. So a cache that an extended model
fills carries a record, and a pass that finds keys for which the record does not speak is refused.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer, StaticLayer
from transformers.masking_utils import find_first_full_attention_index

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.kept_keys import KeptKeys
from ropewalk.integrations.key_marks import rows_of
from ropewalk.integrations.watched_layer import APPENDING, keys_of

RECORD = "ropewalk_record"
"""Attribute of a cache. A copy of the cache has it too."""
OPEN = "ropewalk_open"
"""Attribute of a cache of rotated keys while a pass writes to it."""


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

    def of_rows(self, each: Tensor | None, keys: Tensor | None) -> Tensor | None:
        """What is known of each sequence ``[b, ...]``, in the order in which ``keys`` has them.

        Beams are chosen and batches cut between two passes. None where that order is unknown.
        """
        if each is None or self.keys is keys:
            return each
        if self.keys is None or keys is None:
            return None
        if bool((each == each[:1]).all()):
            return each[:1].expand(len(keys), *each.shape[1:])
        if self.keys.data_ptr() == keys.data_ptr():
            return each[: len(keys)]
        rows = rows_of(keys, self.keys, each)
        return None if rows is None else each[rows]


class CacheAtEntry:
    """The key cache of a pass, as the pass found it.

    tokens     of a layer before the pass
    arriving   tokens that the pass brings; None where that is unknown
    positions  of those that the cache held, int64 ``[b, tokens]``, where a caller once gave others
               than each sequence's own; None where not
    admitted   tokens of each sequence after the pass that began it, this one or an earlier one;
               None where no pass began it, or sequences changed places since
    kept       keys that earlier steps rotated
    """

    def __init__(self, cache: Any, arriving: int | None) -> None:
        self._cache, self._arriving = cache, arriving
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
        record: KeyRecord | None = getattr(self._cache, RECORD, None)
        keys = _keys(self._cache)
        if (
            record is None
            or not record.speaks_for(self.tokens, keys)
            or not _even(self._cache, self.tokens)
        ):
            self._refuse()
        assert record is not None
        # Taken out until the pass leaves: else the keys that it replaces would stay in memory.
        delattr(self._cache, RECORD)
        self.admitted = record.of_rows(record.admitted, keys)
        if record.positions is not None:
            positions = record.of_rows(record.positions, keys)
            if positions is None:
                self._refuse()
            self.positions = positions[:, : self.tokens]

    def _refuse(self) -> NoReturn:
        raise RopewalkError(
            f"a key cache of {self.tokens} tokens that this extension did not fill (a learned "
            "prefix, say), or from which keys were taken: its un-rotated keys have no known "
            "positions; expected an empty cache or one that only extended calls wrote to; "
            "start from the whole prompt"
        )

    def begin(self, sequence_lengths: Tensor) -> None:
        """Tokens of each sequence after the pass, int64 ``[b]``: kept if it is the first."""
        if self.tokens == 0:
            self.admitted = sequence_lengths

    def note(self, positions: Tensor | None) -> None:
        """Positions ``[b, n]`` of all tokens after the pass, where the caller gave others."""
        self._noted = positions

    def leave(self, made: Any) -> None:
        """Write the record, into the cache that came in or that the pass ``made``.

        Where a layer holds other keys than came in and arrived (a hook that evicts), none is.
        """
        cache = made if self._cache is None else self._cache
        if not self._unrotated or not isinstance(cache, Cache):
            return
        if self._arriving is None or _even(cache, self.tokens + self._arriving):
            vouch(cache, self._noted, self.admitted)


def vouch(cache: Cache, positions: Tensor | None = None, admitted: Tensor | None = None) -> None:
    """Record that all keys of ``cache`` are un-rotated, where they stand and how they began."""
    record = KeyRecord(
        tokens=_tokens(cache), positions=positions, admitted=admitted, keys=_keys(cache)
    )
    setattr(cache, RECORD, record)


def begin_pass(cache: Any) -> None:
    """Note that a pass writes rotated keys; the library's own cache needs no other record.

    Raises RopewalkError where a pass before this one ended between two layers.
    """
    if not isinstance(cache, Cache):
        return
    if hasattr(cache, OPEN) and not _even(cache, _tokens(cache)):
        raise RopewalkError(
            "a key cache to which some layers wrote and others did not, since a pass failed: "
            "expected as many keys in each; crop it to what it held before, or start from the "
            "whole prompt"
        )
    setattr(cache, OPEN, True)


def end_pass(cache: Any) -> None:
    """Note that a pass came to its end."""
    if hasattr(cache, OPEN):
        delattr(cache, OPEN)


def _even(cache: Cache, tokens: int) -> bool:
    """Whether every layer that grows holds so many: a hook may evict from one, and a pass may have
    ended between two."""
    growing = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
    return all(each.get_seq_length() == tokens for each in growing if each.is_initialized)


def _tokens(cache: Any) -> int:
    if cache is None:
        return 0
    if isinstance(cache, Cache):
        return int(cache.get_seq_length(find_first_full_attention_index(cache)))
    return int(cache.get_seq_length())


def _keys(cache: Any) -> Tensor | None:
    layers = cache.layers if isinstance(cache, Cache) else []
    layer = layers[find_first_full_attention_index(cache)] if layers else None
    return keys_of(layer) if type(layer) in (*APPENDING, StaticLayer) else None
