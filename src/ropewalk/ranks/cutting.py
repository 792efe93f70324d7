"""Who has which tokens and which heads.

    tokens of rank r          floor(r m / P) .. floor((r + 1) m / P) - 1
    query heads of rank r     floor(r H / P) .. floor((r + 1) H / P) - 1
    key heads of rank r       floor(r G / P) .. ceil((r + 1) G / P) - 1

m  tokens of a pass;  H, G  query and key heads, G divides H;  P  ranks

Query head i reads key head floor(i G / H), and floor(floor(r H / P) G / H) = floor(r G / P): so a
rank has the key heads that its query heads read, whatever H is. Ranks that outnumber key heads
share them.
"""

from dataclasses import dataclass
from math import gcd

from torch import Tensor

from ropewalk.core.errors import RopewalkError


def shares(count: int, size: int) -> tuple[range, ...]:
    """``count`` tokens or query heads in order, a range for each of ``size`` ranks."""
    return tuple(range(r * count // size, (r + 1) * count // size) for r in range(size))


def key_shares(count: int, size: int) -> tuple[range, ...]:
    """Of ``count`` key heads, those that the query heads of each rank read."""
    return tuple(range(r * count // size, -(-(r + 1) * count // size)) for r in range(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Query heads ``first .. first + count - 1`` of ``all_heads``: those of one rank."""

    first: int
    count: int
    all_heads: int

    @classmethod
    def of(cls, rank: int, size: int, all_heads: int) -> "Heads":
        """Raises RopewalkError for more ranks than heads."""
        if size > all_heads:
            raise RopewalkError(
                f"{size} ranks over {all_heads} heads: expected at most as many ranks as a layer "
                "has heads; start fewer"
            )
        own = shares(all_heads, size)[rank]
        return cls(first=own.start, count=len(own), all_heads=all_heads)

    def in_groups(self, keys: Tensor, all_keys: int, first_key: int) -> Tensor:
        """Key heads ``[b, g, n, d]`` so that query head i reads i // (h / g) of them.

        all_keys   G
        first_key  number of the first of ``keys``
        """
        group = self.all_heads // all_keys
        step = gcd(group, self.first, self.count)
        read = [i // group - first_key for i in range(self.first, self.first + self.count, step)]
        return keys if read == list(range(keys.shape[1])) else keys[:, read]
