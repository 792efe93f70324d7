"""The one place that rotates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import Pairing

TILE_NUMBERS = 2**19
"""Numbers that are turned together on a CPU: 2 MiB in float32, so that a tile read once stays in
a cache until it is written, and enough for threads to share."""


def rotate(
    x: Tensor,
    angles: Tensor,
    *,
    pairing: Pairing = "half",
    first_channel: int = 0,
    factor: float | Tensor = 1.0,
) -> Tensor:
    """Turn pairs of channels of ``x`` ``[..., d]`` by ``angles`` ``[..., f]`` radians.

        (a, b) -> factor * (a cos - b sin, b cos + a sin)

    The 2f channels from ``first_channel`` on turn, the others pass. ``factor`` (a number,
    or a tensor that broadcasts with ``angles``) is the attention factor. Angles are float32
    or float64 and are turned into cos and sin in that dtype; the product is taken in float32
    (float64 for float64 input) and rounded once, to the dtype of ``x``.

    Raises RopewalkError for angles of lower precision, or more pairs than channels.
    """
    turn = Turn.by(
        angles, pairing=pairing, first_channel=first_channel, factor=factor, dtype=x.dtype
    )
    return turn.of(x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """A rotation that is worked out once, for all tensors that share its positions.

    cos  ``[..., 2f]`` of the angles, times the attention factor, twice in a row: a product with
         all channels runs straight through memory
    sin  ``[..., f]``, in the same way, once

    Both are float32, or float64 where float64 tensors are to be turned.
    """

    cos: Tensor
    sin: Tensor
    pairing: Pairing = "half"
    first_channel: int = 0

    @classmethod
    def by(
        cls,
        angles: Tensor,
        *,
        pairing: Pairing = "half",
        first_channel: int = 0,
        factor: float | Tensor = 1.0,
        dtype: torch.dtype = torch.float64,
    ) -> "Turn":
        """A turn by ``angles``, for tensors of ``dtype``; the rest as in ``rotate``.

        Raises RopewalkError for angles of lower precision than float32.
        """
        if angles.dtype not in (torch.float32, torch.float64):
            raise RopewalkError(
                f"angles of dtype {angles.dtype}: expected float32 or float64; "
                "lower precision cannot tell neighbouring positions apart"
            )
        wave = torch.complex(angles.cos() * factor, angles.sin() * factor)
        return cls.of_wave(wave, pairing=pairing, first_channel=first_channel, dtype=dtype)

    @classmethod
    def of_wave(
        cls, wave: Tensor, *, pairing: Pairing, first_channel: int, dtype: torch.dtype
    ) -> "Turn":
        """A turn by complex numbers ``[..., f]``, for tensors of ``dtype``."""
        work = work_dtype(dtype)
        cos, sin = wave.real.to(work), wave.imag.to(work)
        twice = torch.cat([cos, cos], dim=-1)
        return cls(cos=twice, sin=sin, pairing=pairing, first_channel=first_channel)

    def rows(self, some: slice) -> "Turn":
        """Of some of its positions, the last axis but one."""
        return replace(self, cos=self.cos[..., some, :], sin=self.sin[..., some, :])

    def beside(self, axis: int) -> "Turn":
        """With a new axis of one, for tensors that have more than the positions."""
        return replace(self, cos=self.cos.unsqueeze(axis), sin=self.sin.unsqueeze(axis))

    @property
    def adjoint(self) -> "Turn":
        """Rotates as far the other way: what carries a gradient back."""
        return replace(self, sin=-self.sin)

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not bool(self.sin.any()) and bool((self.cos == 1).all())

    def of(self, x: Tensor) -> Tensor:
        """``x`` ``[..., d]``, turned: a new tensor of its dtype.

        Raises RopewalkError for more pairs than channels.
        """
        lead = torch.broadcast_tensors(x[..., 0], self.cos[..., 0])[0]
        x = x.expand(*lead.shape, -1)
        if torch.is_grad_enabled() and (x.requires_grad or self.cos.requires_grad):
            return self._joined(x)
        out = torch.empty_like(x)
        self.write(x, out)
        return out

    def write(self, x: Tensor, out: Tensor) -> None:
        """As ``of``, into ``out`` of the result's shape and the dtype of ``x``, no gradient."""
        first, last = self._channels(x)
        cos, sin = self.cos.to(work_dtype(x.dtype)), self.sin.to(work_dtype(x.dtype))
        write = _write_halves if self.pairing == "half" else _write_neighbours
        x = x.expand(out.shape)
        if last - first == x.shape[-1]:
            write(x, cos, sin, out)
            return
        out[..., :first], out[..., last:] = x[..., :first], x[..., last:]
        write(x[..., first:last], cos, sin, out[..., first:last])

    def _joined(self, x: Tensor) -> Tensor:
        """As ``of``, by operations with gradients: autograd refuses to write into views."""
        first, last = self._channels(x)
        cos, sin = self.cos.to(work_dtype(x.dtype)), self.sin.to(work_dtype(x.dtype))
        cos = cos[..., : sin.shape[-1]]
        a, b = _halves(x[..., first:last].to(cos.dtype), self.pairing)
        one, other = a * cos - b * sin, b * cos + a * sin
        if self.pairing == "half":
            turned = torch.cat([one, other], dim=-1)
        else:
            turned = torch.stack([one, other], dim=-1).flatten(-2)
        return torch.cat([x[..., :first], turned.to(x.dtype), x[..., last:]], dim=-1)

    def _channels(self, x: Tensor) -> tuple[int, int]:
        """First and last, exclusive, of those that turn."""
        pairs, last = self.sin.shape[-1], self.first_channel + self.cos.shape[-1]
        if last > x.shape[-1]:
            raise RopewalkError(
                f"{pairs} pairs from channel {self.first_channel} on: expected at most "
                f"{x.shape[-1]} channels; is head_dim right?"
            )
        return self.first_channel, last


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """In which tensors of ``dtype`` are turned: float32, or float64 for float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _halves(x: Tensor, pairing: Pairing) -> tuple[Tensor, Tensor]:
    """Views of the first and the second channel of all pairs."""
    if pairing == "half":
        return x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return x[..., 0::2], x[..., 1::2]


def _write_halves(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Turn channels i and i + f of ``x`` ``[..., 2f]`` into ``out``."""
    if x.dtype == cos.dtype and _is_one_tile(out):
        _turn_halves(x, cos, sin, out)
        return
    tiles = _in_place(x, out) if x.dtype == cos.dtype else _buffered(x, out, cos.dtype)
    for tile, source, target in tiles:
        _turn_halves(source, tile.of(cos), tile.of(sin), target)


def _turn_halves(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    (a, b), (one, other) = x.chunk(2, -1), out.chunk(2, -1)
    torch.mul(x, cos, out=out)
    one.addcmul_(b, sin, value=-1)
    other.addcmul_(a, sin)


def _write_neighbours(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Turn channels 2i and 2i + 1 of ``x`` ``[..., 2f]`` into ``out``: complex numbers."""
    wave = torch.complex(cos[..., : sin.shape[-1]], sin)
    for tile, source, target in _buffered(x, out, sin.dtype):
        torch.mul(_complex(source), tile.of(wave), out=_complex(target))


def _complex(x: Tensor) -> Tensor:
    """Dense ``[..., 2f]`` as ``[..., f]``, the same memory."""
    return torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))


@dataclass(frozen=True, slots=True)
class _Tile:
    """Ranges (dimension counted from the end, start, length) of tensors that broadcast."""

    ranges: tuple[tuple[int, int, int], ...]

    def of(self, x: Tensor) -> Tensor:
        for dim, start, length in self.ranges:
            if x.ndim >= -dim and x.shape[dim] > 1:
                x = x.narrow(dim, start, length)
        return x


_Parts = Iterator[tuple[_Tile, Tensor, Tensor]]
"""A tile, its part of x to read from, and one of out to write to before the next is asked for."""


def _in_place(x: Tensor, out: Tensor) -> _Parts:
    for tile in _tiles(out):
        yield tile, tile.of(x), tile.of(out)


def _buffered(x: Tensor, out: Tensor, dtype: torch.dtype) -> _Parts:
    """By way of dense buffers in ``dtype``, small enough to stay in a cache."""
    buffers: Tensor | None = None
    for tile, source, target in _in_place(x, out):
        if buffers is None:
            buffers = torch.empty(2, *source.shape, dtype=dtype, device=x.device)
        wide, turned = buffers[(slice(None), *map(slice, source.shape))]
        yield tile, wide.copy_(source), turned
        target.copy_(turned)


def _tiles(out: Tensor) -> Iterator[_Tile]:
    """Tiles that cover ``out``, in the order of its memory; the first is the largest."""
    if _is_one_tile(out):
        yield _Tile(())
        return
    limit, rest = TILE_NUMBERS, out.numel()
    cuts: list[list[tuple[int, int, int]]] = []
    for dim in sorted(range(-out.ndim, -1), key=out.stride, reverse=True):
        if rest <= limit:
            break
        size = out.shape[dim]
        rest //= size
        length = max(1, limit // rest)
        starts = range(0, size, length)
        cuts.append([(dim, start, min(length, size - start)) for start in starts])
        rest *= min(length, size)
    yield from (_Tile(ranges) for ranges in product(*cuts))


def _is_one_tile(out: Tensor) -> bool:
    return out.device.type != "cpu" or out.numel() <= TILE_NUMBERS
