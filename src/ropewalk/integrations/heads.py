"""How one attention module turns its heads, fitted to what it does."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.attention.rotary import Rotary
from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Frequencies, Side
from ropewalk.core.geometry import Pairing, RopeGeometry
from ropewalk.integrations.placement import weight_of

PAIRINGS: tuple[Pairing, ...] = ("half", "interleaved")


class Direction(Enum):
    """Which way a family's code turns by a positive angle."""

    FORWARD = "(a, b) -> (a cos - b sin, b cos + a sin)"
    BACKWARD = "(a, b) -> (a cos + b sin, b cos - a sin)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backward(Frequencies):
    """``forward``, rotating the other way (NanoChat)."""

    forward: Frequencies

    @property
    def geometry(self) -> RopeGeometry:  # type: ignore[override]
        return self.forward.geometry

    def inv_freq(self, context_length: int) -> Tensor:
        return -self.forward.inv_freq(context_length)

    def attention_factor(self, context_length: int) -> float:
        return self.forward.attention_factor(context_length)

    def angles(self, positions: Tensor, lengths: int | Tensor) -> Tensor:
        return -self.forward.angles(positions, lengths)

    def size(self, positions: Tensor, lengths: int | Tensor, side: Side) -> float | Tensor:
        return self.forward.size(positions, lengths, side)

    @property
    def length_dependent(self) -> bool:
        return self.forward.length_dependent

    @property
    def shift_invariant(self) -> bool:
        return self.forward.shift_invariant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadLayout:
    """Where the rotary channels of a head start, and what is done to it after rotating.

    direction             of the family's own code; its rotary module knows none
    query_norm, key_norm  norms that the family applies after the rotation; None for none. A
                          norm's length commutes with a rotation, its channel weights do not.
    """

    first_channel: int = 0
    direction: Direction = Direction.FORWARD
    query_norm: nn.Module | None = None
    key_norm: nn.Module | None = None

    @property
    def query_weight(self) -> Tensor | None:
        """Channel weights ``[d]`` of queries after the rotation, as the norm has them now."""
        return None if self.query_norm is None else weight_of(self.query_norm)

    @property
    def key_weight(self) -> Tensor | None:
        """Channel weights ``[d]`` of keys after the rotation, as the norm has them now."""
        return None if self.key_norm is None else weight_of(self.key_norm)

    def directed(self, encoding: Encoding) -> Encoding:
        """``encoding`` as the family's code would apply it."""
        if self.direction is Direction.FORWARD or encoding.frequencies is None:
            return encoding
        return replace(encoding, frequencies=Backward(forward=encoding.frequencies))

    def rotary(self, encoding: Encoding) -> Rotary:
        """How heads laid out like this are rotated by an encoding that is directed already."""
        return Rotary(
            encoding=encoding,
            first_channel=self.first_channel,
            channel_weights=self.channel_weights,
        )

    def before_weights(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys as they were before the channel weights."""
        return _divided(q, self.query_weight), _divided(k, self.key_weight)

    def weighted(self, q: Tensor) -> Tensor:
        """Rotated queries times their channel weights."""
        return _times(q, self.query_weight)

    @property
    def channel_weights(self) -> Tensor | None:
        """What the weights do to a product of a turned query and key, channel by channel."""
        if self.query_weight is None or self.key_weight is None:
            return None
        return self.query_weight * self.key_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What a module handed to attention, un-turned and turned, ``[1, h, n, d]`` each."""

    q: Tensor
    k: Tensor
    turned_q: Tensor
    turned_k: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A candidate and its largest relative difference from what the module did."""

    encoding: Encoding
    heads: HeadLayout
    error: float


@torch.no_grad()
def nearest_fit(seen: Heads, module: nn.Module, encoding: Encoding) -> Fit:
    """The candidate layout of ``encoding`` that comes nearest to what ``module`` does.

    ``encoding`` must turn no more channels than a head has.
    """
    fits = (
        _fit(seen, encoding, pairing, replace(heads, direction=direction))
        for direction, pairing, heads in product(
            Direction, PAIRINGS, candidates(seen, module, encoding)
        )
    )
    return min(fits, key=lambda fit: fit.error)


def relative_distance(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the largest entry of ``b``."""
    b = b.double()
    return float((a.double() - b).abs().max() / b.abs().max().clamp(min=1e-30))


def candidates(seen: Heads, module: nn.Module, encoding: Encoding) -> Iterator[HeadLayout]:
    """Where the rotary channels of a head may lie, and which norms may follow the rotation."""
    width = seen.q.shape[-1]
    rotary = 2 * pairs_of(encoding)
    starts = {0, width - rotary}
    for start in starts:
        yield HeadLayout(first_channel=start)
    norms = [
        norm
        for name, norm in module.named_modules()
        if "norm" in name and _weighs(getattr(norm, "weight", None), width)
    ]
    if len(norms) == 2:
        query, key = norms
        for start in starts:
            yield HeadLayout(first_channel=start, query_norm=query, key_norm=key)


def _weighs(weight: Any, width: int) -> bool:
    shaped = isinstance(weight, Tensor) and weight.shape == (width,)
    return shaped and (weight.is_meta or bool((weight != 0).all()))


def _fit(seen: Heads, encoding: Encoding, pairing: Pairing, heads: HeadLayout) -> Fit:
    candidate = encoding.paired(pairing)
    positions = torch.arange(seen.q.shape[2], device=seen.q.device)
    directed = heads.directed(candidate)

    def rotated(x: Tensor, side: Side) -> Tensor:
        turn = directed.turn(
            side,
            positions,
            encoding.geometry.trained_length,
            first_channel=heads.first_channel,
            dtype=x.dtype,
        )
        return x if turn is None else turn.of(x)

    q, k = heads.before_weights(seen.q, seen.k)
    q = _times(rotated(q, Side.QUERY), heads.query_weight)
    k = _times(rotated(k, Side.KEY), heads.key_weight)
    error = max(relative_distance(q, seen.turned_q), relative_distance(k, seen.turned_k))
    return Fit(encoding=candidate, heads=heads, error=error)


def pairs_of(encoding: Encoding) -> int:
    """f: pairs of channels that rotate."""
    return len(encoding.rotation.inv_freq(encoding.geometry.trained_length))


def _divided(x: Tensor, weight: Tensor | None) -> Tensor:
    return x if weight is None else (x / weight).to(x.dtype)  # autocast keeps norms wide


def _times(x: Tensor, weight: Tensor | None) -> Tensor:
    return x if weight is None else (x * weight).to(x.dtype)
