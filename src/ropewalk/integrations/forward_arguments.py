"""The arguments of a decoder's forward pass, by name, however they were passed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.cache_names import CACHE_NAMES
from ropewalk.integrations.positions import one_axis, own_positions


@dataclass(frozen=True, slots=True, eq=False)
class ForwardArguments:
    """Arguments of a decoder's forward, by name, however they were passed.

    accepted  names that the forward takes, in their order
    """

    decoder: nn.Module
    named: dict[str, Any]
    accepted: tuple[str, ...]

    @classmethod
    def of(
        cls,
        decoder: nn.Module,
        accepted: tuple[str, ...],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> "ForwardArguments":
        """What a pre-hook of ``decoder`` is told."""
        return cls(decoder, {**dict(zip(accepted, args, strict=False)), **kwargs}, accepted)

    @property
    def position_ids(self) -> Tensor | None:
        """Along one axis; RopewalkError for what no encoding is told of."""
        position_ids = self.named.get("position_ids")
        if position_ids is None:
            return None
        position_ids = one_axis(position_ids)
        if bool((position_ids < 0).any()):
            raise RopewalkError(
                f"position_ids from {int(position_ids.min())} on: expected 0 or more; "
                "count each sequence's tokens from 0"
            )
        return position_ids

    @property
    def mask(self) -> Any:
        """The attention mask, the first where there is one for each kind of layer."""
        mask = self.named.get("attention_mask")
        return next(iter(mask.values())) if isinstance(mask, dict) else mask

    @property
    def padding(self) -> Tensor | None:
        """A 2-D padding mask that hides something; None for any other mask, or none."""
        mask = self.mask
        if not isinstance(mask, Tensor) or mask.ndim != 2 or bool(mask.all()):
            return None
        return mask.bool()

    @property
    def cache(self) -> Any:
        """The key cache, None where none is given."""
        return next((self.named[n] for n in CACHE_NAMES if self.named.get(n) is not None), None)

    @property
    def takes_cache(self) -> bool:
        """Whether the decoder knows one: a bidirectional model does not."""
        return any(name in self.accepted for name in CACHE_NAMES)

    @property
    def makes_cache(self) -> bool:
        """Whether the pass makes a cache of its own."""
        asked = self.named.get("use_cache")
        config = getattr(self.decoder, "config", None)
        return bool(getattr(config, "use_cache", False) if asked is None else asked)

    @property
    def fed(self) -> tuple[str, ...]:
        """Names of what is given for each token: ids, embeddings, or both."""
        names = ("input_ids", "inputs_embeds")
        return tuple(name for name in names if isinstance(self.named.get(name), Tensor))

    @property
    def tokens(self) -> int | None:
        """m, None where neither ids nor embeddings are given."""
        return self.named[self.fed[0]].shape[1] if self.fed else None

    @property
    def device(self) -> torch.device | None:
        """Where they are."""
        return self.named[self.fed[0]].device if self.fed else None

    @property
    def packing_masked(self) -> bool:
        """Whether sequences packed in one row are masked apart: where the library itself makes
        the mask, and is given neither another nor a cache; by a mask that somebody made; by flash
        attention, which reads the positions of one row, or is told where sequences start."""
        if self.mask is not None:
            return getattr(self.mask, "ndim", 2) == 4
        if self._flash:
            told = self.named.get("cu_seq_lens_q") is not None
            return told or (self._rows == 1 and not self._cached)
        return self.cache is None and self.takes_cache and not self.makes_cache

    @property
    def _flash(self) -> bool:
        config = getattr(self.decoder, "config", None)
        return "flash_attention" in str(getattr(config, "_attn_implementation", ""))

    @property
    def _rows(self) -> int | None:
        ids = self.named.get("position_ids")
        return len(ids) if isinstance(ids, Tensor) and ids.ndim == 2 else None

    @property
    def _cached(self) -> bool:
        return self.cache is not None and int(self.cache.get_seq_length()) > 0

    def real(self, tokens: int) -> Tensor | None:
        """Bool ``[b, tokens]``: which of the last are no padding; None where all are real."""
        padding = self.padding
        return None if padding is None else padding[:, -tokens:]

    def own_positions(self, seen: int) -> Tensor | None:
        """Of these tokens among their sequences' own, from the padding mask; None without one."""
        padding, tokens = self.padding, self.tokens
        if padding is None or tokens is None:
            return None
        return own_positions(padding, len(padding), seen + tokens, padding.device)[:, seen:]
