"""Where the queries and keys of one forward pass stand in their own sequences."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Rows(ABC):
    """Places of one forward pass's queries and keys, and which pairs may attend.

    A token has an *index*, its number among its sequence's own tokens: regions, L, tau and
    biases are functions of it. It has *positions*, which a rotation sees: the same numbers,
    unless the caller gave others.

    query_positions  ``[b, m]``: padding and batch mates change nothing
    key_positions    ``[b, n]``; of a masked key meaningless, but finite
    """

    query_positions: Tensor
    key_positions: Tensor

    @property
    def query_index(self) -> Tensor:
        """int64 ``[b, m]``."""
        return self.query_positions

    @property
    def key_index(self) -> Tensor:
        """int64 ``[b, n]``; of a masked key meaningless, but finite."""
        return self.key_positions

    @property
    def sequence_lengths(self) -> Tensor:
        """Tokens of each sequence up to the end of this pass, int64 ``[b]``."""
        return self.query_index.amax(dim=-1) + 1

    @property
    def admitted_lengths(self) -> Tensor:
        """Tokens of each sequence at the end of the pass that began it, int64 ``[b]``.

        This one, where nothing remembers an earlier one.
        """
        return self.sequence_lengths

    @property
    def length_index(self) -> Tensor:
        """Index ``[b, m]`` from which a length policy takes L: the rows' own.

        Rows that see what comes after them have the L of their whole sequence instead.
        """
        return self.query_index

    @property
    def visible(self) -> tuple[Tensor, Tensor] | None:
        """Keys ``start <= n < stop`` of each row, int64 ``[b or 1, m]``, where that is known.

        None: ``allowed`` has to be asked.
        """
        return None

    @abstractmethod
    def allowed(self, first: int, last: int) -> tuple[int, Tensor | None]:
        """Keys that the queries ``first .. last - 1`` of the pass may see.

        Returns (stop, mask): keys from ``stop`` on are out of reach of all these rows; ``mask``
        is bool, broadcastable to ``[b, h, last - first, stop]``, or None where every row sees
        every key before ``stop``.
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

    @property
    def visible(self) -> tuple[Tensor, Tensor]:
        queries, keys = self.query_positions.shape[1], self.key_positions.shape[1]
        stop = torch.arange(keys - queries, keys, device=self.query_positions.device)[None] + 1
        return torch.zeros_like(stop), stop

    def allowed(self, first: int, last: int) -> tuple[int, Tensor | None]:
        before = self.key_positions.shape[1] - self.query_positions.shape[1]
        stop = before + last
        if last - first == 1:
            return stop, None
        device = self.query_positions.device
        rows = torch.arange(before + first, stop, device=device)
        return stop, rows[:, None] >= torch.arange(stop, device=device)[None, :]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PaddedRows(Rows):
    """``m`` queries at the end of ``n`` keys, causal, with padding on the left of each row.

    padding  slots of padding of each sequence, int64 ``[b]``
    window   keys that a row sees, itself among them; None for all before it
    """

    query_positions: Tensor
    key_positions: Tensor
    padding: Tensor
    window: int | None

    @classmethod
    def of(cls, padding: Tensor, queries: int, keys: int, window: int | None) -> "PaddedRows":
        index = torch.arange(keys, device=padding.device)
        positions = (index[None] - padding[:, None]).clamp(min=0)
        return cls(
            query_positions=positions[:, keys - queries :],
            key_positions=positions,
            padding=padding,
            window=window,
        )

    @property
    def visible(self) -> tuple[Tensor, Tensor]:
        queries, keys = self.query_positions.shape[1], self.key_positions.shape[1]
        stop = torch.arange(keys - queries, keys, device=self.padding.device)[None] + 1
        start = self.padding[:, None].expand(-1, queries)
        if self.window is not None:
            start = torch.maximum(start, stop - self.window)
        stop = stop.expand_as(start)
        return torch.minimum(start, stop), stop

    def allowed(self, first: int, last: int) -> tuple[int, Tensor | None]:
        stop = self.key_positions.shape[1] - self.query_positions.shape[1] + last
        start, end = (bound[:, first:last, None] for bound in self.visible)
        key = torch.arange(stop, device=self.padding.device)
        return stop, ((start <= key) & (key < end))[:, None]
