"""Where the queries and keys of one attention call stand in their own sequences."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Rows(ABC):
    """Positions of one call's queries and keys, and which pairs may attend.

    query_positions  int64 ``[b, m]``, counted in each sequence's own tokens: padding
                     and batch mates change nothing
    key_positions    int64 ``[b, n]``; of a masked key meaningless, but finite
    """

    query_positions: Tensor
    key_positions: Tensor

    @property
    def sequence_lengths(self) -> Tensor:
        """Tokens of each sequence up to the end of this call, int64 ``[b]``."""
        return self.query_positions.amax(dim=-1) + 1

    @property
    def length_positions(self) -> Tensor:
        """Positions ``[b, m]`` from which a length policy takes L: the rows' own.

        Rows that see what comes after them have the L of their whole sequence instead.
        """
        return self.query_positions

    @abstractmethod
    def allowed(self, first: int, last: int) -> tuple[int, Tensor | None]:
        """Keys that the query indices ``first .. last - 1`` may see.

        Returns (stop, mask): keys from index ``stop`` on are out of reach of all these
        rows; ``mask`` is bool, broadcastable to ``[b, h, last - first, stop]``, or None
        where every row sees every key before ``stop``.
        """


@dataclass(frozen=True, slots=True, eq=False)
class CausalRows(Rows):
    """``m`` queries at the end of ``n`` keys, one sequence a batch row, no padding."""

    query_positions: Tensor
    key_positions: Tensor

    @classmethod
    def of(cls, batch: int, queries: int, keys: int, device: torch.device) -> "CausalRows":
        index = torch.arange(keys, device=device).expand(batch, keys)
        return cls(index[:, keys - queries :], index)

    def allowed(self, first: int, last: int) -> tuple[int, Tensor | None]:
        before = self.key_positions.shape[1] - self.query_positions.shape[1]
        stop = before + last
        if last - first == 1:
            return stop, None
        device = self.query_positions.device
        rows = torch.arange(before + first, stop, device=device)
        return stop, rows[:, None] >= torch.arange(stop, device=device)[None, :]
