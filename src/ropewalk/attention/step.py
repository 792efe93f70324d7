"""A decoding step: one row a sequence, over keys that steps before it have turned.

The keys of a row lie in one region each, so each needs one turn: where its region shows it, at an
L that many rows share (``ropewalk.attention.anchors``). What is turned stays as it is while the
row moves on, but for its own key and for those that pass from one region to the next. The query
bears the rest: a turn for each run of keys that one region shows, both shares of the attention
factor, and what L differs from the keys' (``ropewalk.attention.series``).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.anchors import anchors
from ropewalk.attention.series import Series, whole
from ropewalk.attention.softmax import Softmax, times_tau
from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import Turn, work_dtype
from ropewalk.core.rows import Rows
from ropewalk.core.turning import turns

MOST_RANGES = 4
"""Ranges of keys that a step turns apart; more are turned together with what lies between."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """Runs of keys that one region shows.

    cuts     indices 0 .. n where a run starts or ends
    queries  turns ``[b, 1, runs, 1, 2f]``
    """

    cuts: tuple[int, ...]
    queries: Turn

    def products(self, q: Tensor, keys: Tensor) -> Tensor:
        """``q`` ``[b, g, h / g, d]``, ``keys`` ``[b, g, n, d]`` -> ``[b, g, h / g, n]``."""
        dtype = work_dtype(q.dtype)  # a product of half precision would be rounded to it
        queries = self.queries.of(q[:, :, None].to(dtype))
        products = queries.new_empty(*q.shape[:3], self.cuts[-1])
        for run, (start, stop) in enumerate(pairwise(self.cuts)):
            own = keys[:, :, start:stop].to(dtype)
            products[..., start:stop] = queries[:, :, run] @ own.transpose(-1, -2)
        return products


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What all layers share.

    shown     float64 ``[b, n]``: the position of each key in the region that it lies in
    anchors   int64 ``[b]``: L at which keys are turned
    row       how products are taken
    """

    encoding: Encoding
    first_channel: int
    dtype: torch.dtype
    rows: Rows
    shown: Tensor
    anchors: Tensor
    row: Runs | Series

    @property
    def room(self) -> int:
        """Keys that there has to be room for: n, filled up."""
        return whole(self.shown.shape[1])

    def stale(self, before: "Step | None") -> tuple[tuple[int, int], ...]:
        """Ranges of keys that have to be turned, where those of ``before`` are as it left them."""
        return _stale(self, before)

    def key_turn(self, start: int, stop: int) -> Turn:
        """Of a range of keys: turns ``[b, g, n, d]``, without attention factor."""
        return _key_turn(self, start, stop)

    def attend(self, q: Tensor, keys: Tensor, v: Tensor, softmax: Softmax) -> Tensor:
        """``q`` ``[b, h, 1, d]``, turned ``keys`` ``[b, g, N, d]``, ``v`` ``[b, g, n, e]``.

        N is n, filled up to whole blocks with whatever numbers. Where ``Softmax.bare`` says so.
        """
        batch, heads, _, width = q.shape
        stop, mask = self.rows.allowed(0, 1)
        mask = None if mask is None else mask[(None,) * (4 - mask.ndim)]
        # Heads that share keys are rows that see the same: their keys are read once.
        q = times_tau(q, self.encoding, self.rows).view(batch, v.shape[1], -1, width)
        v = v[:, :, :stop]
        if isinstance(self.row, Runs) and len(self.row.cuts) == 2:
            q = self.row.queries.of(q[:, :, None])[:, :, 0]
            # On CUDA, fused attention hands back heads that lie apart.
            return softmax.attend(q, keys[:, :, :stop], v, mask).reshape(batch, heads, 1, -1)
        products = self.row.products(q, keys)[..., :stop]
        return softmax.weigh(products.view(batch, heads, 1, -1), v, mask, width)


@lru_cache(maxsize=2)
def step_of(rows: Rows, encoding: Encoding, first_channel: int, dtype: torch.dtype) -> Step | None:
    """For all layers of a call, which ask with the same ``rows``, told apart by identity.

    dtype  in which is turned; None where a step has to turn all keys anew.
    """
    born = encoding.row_dependent and encoding.length_policy.keys_settle_at_birth
    found = None if born or rows.query_positions.shape[1] > 1 else anchors(rows, encoding, dtype)
    if found is None:
        return None
    row = _Row(*found, _Shown.of(rows, encoding), encoding, first_channel, dtype)
    products = row.runs() if row.anchored else row.series()
    if products is None:
        return None
    return Step(
        encoding=encoding,
        first_channel=first_channel,
        dtype=dtype,
        rows=rows,
        shown=row.shown.keys,
        anchors=row.anchors,
        row=products,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Where regions show a row and its keys.

    cuts   as in ``Runs``
    query  float64 ``[b, runs]``
    keys   float64 ``[b, n]``
    """

    cuts: tuple[int, ...]
    query: Tensor
    keys: Tensor

    @classmethod
    def of(cls, rows: Rows, encoding: Encoding) -> "_Shown":
        regions = encoding.position_map.regions
        query, keys = rows.query_positions, rows.key_positions
        covered = torch.stack([region.covers(query, keys) for region in regions])
        number = covered.int().argmax(dim=0)
        starts = (number.diff(dim=1) != 0).any(dim=0).nonzero().flatten() + 1
        starts = functional.pad(starts, (1, 0))
        cuts = (*starts.tolist(), keys.shape[1])
        own = torch.stack([region.query_positions(query[:, 0]) for region in regions], dim=1)
        shown = torch.stack([region.key_positions(keys) for region in regions])
        return cls(cuts, own.gather(1, number[:, starts]), shown.gather(0, number[None])[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """How the query is turned for keys at other L: ``lengths`` and ``anchors`` ``[b]``."""

    lengths: Tensor
    anchors: Tensor
    shown: _Shown
    encoding: Encoding
    first_channel: int
    dtype: torch.dtype

    @property
    def anchored(self) -> bool:
        """Whether its frequencies are those of its keys."""
        return torch.equal(self._theta(self.lengths), self._theta(self.anchors))

    def runs(self) -> Runs:
        own = self.shown.query
        angles, factor = turns(own, self.lengths[:, None].expand_as(own), self.encoding)
        queries = Turn.by(
            angles[:, None, :, None],
            pairing=self.encoding.geometry.pairing,
            first_channel=self.first_channel,
            factor=(factor**2)[:, None, :, None],
            dtype=self.dtype,
        )
        return Runs(cuts=self.shown.cuts, queries=queries)

    def series(self) -> Series | None:
        """None where there are several runs, or it would take too many terms."""
        frequencies, theta = self.encoding.frequencies, self._theta(self.lengths)
        if len(self.shown.cuts) > 2 or not frequencies.proportional:
            return None
        factors = [frequencies.attention_factor(length) for length in self.lengths.tolist()]
        factor = torch.tensor(factors, dtype=theta.dtype, device=theta.device)
        return Series.of(
            query=self.shown.query[:, 0],
            keys=self.shown.keys,
            theta=theta,
            delta=theta - self._theta(self.anchors),
            factor=factor[:, None] ** 2,
            pairing=self.encoding.geometry.pairing,
            first_channel=self.first_channel,
            dtype=self.dtype,
        )

    def _theta(self, lengths: Tensor) -> Tensor:
        """``[b, f]``"""
        theta = [self.encoding.frequencies.inv_freq(length) for length in lengths.tolist()]
        return torch.stack(theta).to(lengths.device)


@lru_cache(maxsize=2)
def _stale(step: Step, before: Step | None) -> tuple[tuple[int, int], ...]:
    count = step.shown.shape[1]
    if before is None or not _alike(step, before):
        return ((0, count),)
    kept = before.shown.shape[1]
    moved = (step.shown[:, :kept] != before.shown).any(dim=0).nonzero().flatten().tolist()
    ranges = _runs([*moved, *range(kept, count)])
    return ranges if len(ranges) <= MOST_RANGES else ((ranges[0][0], count),)


def _alike(step: Step, other: Step) -> bool:
    """Whether both turn a key that is shown at one position alike."""
    settings = (step.encoding, step.first_channel, step.dtype)
    same = settings == (other.encoding, other.first_channel, other.dtype)
    return same and torch.equal(step.anchors, other.anchors)


def _runs(indices: list[int]) -> tuple[tuple[int, int], ...]:
    """Ranges that hold the rising ``indices`` and nothing else."""
    starts = [i for before, i in pairwise([-2, *indices]) if i != before + 1]
    stops = [i + 1 for i, after in pairwise([*indices, -2]) if after != i + 1]
    return tuple(zip(starts, stops, strict=True))


@lru_cache(maxsize=4)
def _key_turn(step: Step, start: int, stop: int) -> Turn:
    positions = step.shown[:, start:stop]
    angles, _ = turns(positions, step.anchors[:, None].expand_as(positions), step.encoding)
    return Turn.by(
        angles[:, None],
        pairing=step.encoding.geometry.pairing,
        first_channel=step.first_channel,
        dtype=step.dtype,
    )
