"""Where fused attention takes turned queries and keys from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ropewalk.attention.plan import SharedKeys
from ropewalk.attention.turns import Span, Turns, rows_of
from ropewalk.core.encoding import Encoding
from ropewalk.core.regions import Region
from ropewalk.core.rotation import Turn, work_dtype


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """Keys ``[b, g, n, d]`` from index ``start`` on, to be turned by ``turn``."""

    keys: Tensor
    start: int
    turn: Turn | None

    def turned(self) -> "Keys":
        """All of them, turned once for many readers."""
        return self if self.turn is None else Keys(self.turn.of(self.keys), self.start, None)

    def between(self, start: int, stop: int) -> Tensor:
        """Some of them, which need no turn."""
        assert self.turn is None
        return self.keys[:, :, start - self.start : stop - self.start]

    def turned_parts(self, start: int, stop: int, most: int) -> Iterator[tuple[int, int, Tensor]]:
        """Some of them, ``most`` at a time, turned, with the indices of the first and the next.

        A part is gone when the next is asked for: all are turned into the same memory, which
        stays in a cache.
        """
        room = torch.empty(0)
        for first in range(start, stop, most):
            here = slice(first - self.start, min(first + most, stop) - self.start)
            keys = self.keys[:, :, here]
            if self.turn is not None:
                room = torch.empty_like(keys) if room.numel() < keys.numel() else room
                turned = room[:, :, : keys.shape[2]]
                rows_of(self.turn, here).write(keys, turned)
                keys = turned
            yield first, min(first + most, stop), keys


class Source(Protocol):
    """Turns queries and keys at one context length."""

    def queries(
        self, q: Tensor, span: Span, regions: tuple[Region, ...], length: int
    ) -> list[Tensor]:
        """``q`` ``[b, h, m, d]`` at the positions that each of some regions gives it."""
        ...

    def keys(self, k: Tensor, shared: SharedKeys, length: int) -> Keys:
        """Of ``k`` ``[b, g, n, d]`` the shared keys, to be turned as their regions ask."""
        ...


@dataclass(frozen=True, slots=True)
class AlreadyTurned:
    """Queries and keys as they are."""

    def queries(
        self, q: Tensor, span: Span, regions: tuple[Region, ...], length: int
    ) -> list[Tensor]:
        return [q for _ in regions]

    def keys(self, k: Tensor, shared: SharedKeys, length: int) -> Keys:
        return Keys(k[:, :, shared.start : shared.stop], shared.start, None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Turner:
    """Turns by an encoding; multiplies turned queries by ``channel_weights`` ``[d]``."""

    encoding: Encoding
    first_channel: int
    channel_weights: Tensor | None

    def queries(
        self, q: Tensor, span: Span, regions: tuple[Region, ...], length: int
    ) -> list[Tensor]:
        turned = self._turns(q, length).of_queries(span, regions).of(q[:, :, None])
        if self.channel_weights is not None:
            turned = turned * self.channel_weights
        return list(turned.unbind(dim=2))

    def keys(self, k: Tensor, shared: SharedKeys, length: int) -> Keys:
        turn = self._turns(k, length).of_keys(shared.span, shared.region)
        return Keys(k[:, :, shared.start : shared.stop], shared.start, turn)

    def _turns(self, x: Tensor, length: int) -> Turns:
        return Turns(
            encoding=self.encoding,
            length=length,
            first_channel=self.first_channel,
            dtype=work_dtype(x.dtype),
            device=x.device,
        )
