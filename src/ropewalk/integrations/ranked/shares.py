"""A rank's share of a pass: which tokens it feeds, and how its heads meet those of the others."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ropewalk.integrations.feeding import Share
from ropewalk.ranks.cutting import key_shares, shares
from ropewalk.ranks.exchange import all_heads, all_tokens
from ropewalk.ranks.ranks import LEADER, Ranks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedShare(Share):
    """Tokens that are fed on this rank.

    tokens  m, of the whole pass
    cache   through which the pass goes, and which exchanges its keys; None without one
    """

    ranks: Ranks
    tokens: int
    cache: Any = None

    def covered(self, fed: int, keys: int) -> int:
        return self.tokens + (0 if self.cache is None else keys - fed)

    @abstractmethod
    def queries(self, q: Tensor) -> Tensor:
        """Of tokens fed here ``[b, h, ., d]`` -> of own query heads ``[b, h_r, m, d]``."""

    @abstractmethod
    def keys(self, x: Tensor) -> Tensor:
        """The same of keys or values: ``[b, g, ., d]`` -> ``[b, g_r, m, d]``."""

    @abstractmethod
    def outputs(self, out: Tensor, heads: int) -> Tensor:
        """The way back: own heads ``[b, h_r, m, e]`` -> tokens fed here ``[b, h, ., e]``."""

    @property
    @abstractmethod
    def answered(self) -> range:
        """Tokens of the pass for which this rank answers: each has one rank that does."""


class Split(RankedShare):
    """Every rank feeds tokens of its own."""

    __slots__ = ()

    @property
    def _tokens(self) -> tuple[range, ...]:
        return shares(self.tokens, self.ranks.size)

    @property
    def answered(self) -> range:
        return self._tokens[self.ranks.rank]

    def own(self, x: Tensor) -> Tensor:
        return x[:, self.answered.start : self.answered.stop]

    def queries(self, q: Tensor) -> Tensor:
        return all_tokens(q, self.ranks, shares(q.shape[1], self.ranks.size), self._tokens)

    def keys(self, x: Tensor) -> Tensor:
        return all_tokens(x, self.ranks, key_shares(x.shape[1], self.ranks.size), self._tokens)

    def outputs(self, out: Tensor, heads: int) -> Tensor:
        return all_heads(out, self.ranks, shares(heads, self.ranks.size), self._tokens)


class Same(RankedShare):
    """Fewer tokens than ranks: every rank feeds them all, and attends with heads of its own."""

    __slots__ = ()

    @property
    def answered(self) -> range:
        return range(self.tokens if self.ranks.rank == LEADER else 0)

    def own(self, x: Tensor) -> Tensor:
        return x

    def queries(self, q: Tensor) -> Tensor:
        own = shares(q.shape[1], self.ranks.size)[self.ranks.rank]
        return q[:, own.start : own.stop]

    def keys(self, x: Tensor) -> Tensor:
        own = key_shares(x.shape[1], self.ranks.size)[self.ranks.rank]
        return x[:, own.start : own.stop]

    def outputs(self, out: Tensor, heads: int) -> Tensor:
        counts = [len(each) for each in shares(heads, self.ranks.size)]
        return torch.cat(self.ranks.gathered(out, counts), dim=1)


def share_of(ranks: Ranks, tokens: int, cache: Any = None) -> RankedShare:
    """Of a pass of ``tokens`` tokens."""
    kind = Split if tokens >= ranks.size else Same
    return kind(ranks=ranks, tokens=tokens, cache=cache)
