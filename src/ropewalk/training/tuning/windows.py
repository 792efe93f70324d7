"""Windows of training texts, each a pure function of (seed, its number).

Nothing about the data has to be saved for a run to go on where it stopped.
"""

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.training.tuning.positions import FullLength, Lengths, PositionSampler

IGNORED = -100
"""A label that is not scored, to the library."""

Batch = dict[str, Tensor]
"""Arguments of a causal model's forward, by name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextWindows:
    """``count`` windows over documents, for a ``Trainer``.

    documents  int64 ``[n]`` each
    sampler    FullLength takes a window of all documents one after the other, in which each keeps
               to itself: its positions begin at 0, its tokens see no other's, and its first is
               not scored. The others take a window of one document

    Raises RopewalkError where no document is as long as a window.
    """

    documents: Sequence[Tensor]
    sampler: PositionSampler
    lengths: Lengths
    seed: int
    count: int

    def __post_init__(self) -> None:
        self.sampler.check(self.lengths)
        require_window(self.documents, self.sampler, self.lengths)

    @property
    def tokens(self) -> int:
        """Of a window."""
        return self.sampler.tokens(self.lengths)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Batch:
        """One window: int64 ``[n]`` of ids, position_ids and labels, which the model shifts."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        chance = np.random.default_rng([self.seed, number])
        packed = isinstance(self.sampler, FullLength)
        return self._packed(chance) if packed else self._skipping(chance)

    def _packed(self, chance: np.random.Generator) -> Batch:
        sizes = np.array([len(each) for each in self.documents])
        begins = np.cumsum(sizes) - sizes
        start = int(chance.integers(0, int(sizes.sum()) - self.tokens, endpoint=True))
        place = np.arange(start, start + self.tokens)
        which = np.searchsorted(begins, place, side="right") - 1
        within = place - begins[which]
        ids = torch.cat(
            [
                self.documents[each][torch.from_numpy(within[which == each])]
                for each in dict.fromkeys(which.tolist())
            ]
        )
        # The window's beginning is position 0 of the document that it lies in.
        first = np.where(which == which[0], within[0], 0)
        positions = torch.from_numpy(within - first)
        return {
            "input_ids": ids,
            "position_ids": positions,
            "labels": ids.masked_fill(positions == 0, IGNORED),
        }

    def _skipping(self, chance: np.random.Generator) -> Batch:
        room = np.array([max(len(each) - self.tokens + 1, 0) for each in self.documents])
        which = int(chance.choice(len(room), p=room / room.sum()))
        start = int(chance.integers(0, room[which]))
        text = self.documents[which][start : start + self.sampler.stretch(self.lengths)]
        drawn = self.sampler.draw(self.lengths, len(text), chance)
        ids = text[torch.from_numpy(drawn.places)]
        return {
            "input_ids": ids,
            "position_ids": torch.from_numpy(drawn.positions),
            "labels": ids.clone(),
        }

    def batch(self, windows: Sequence[Batch]) -> Batch:
        """Windows as one batch ``[b, n]``.

        Positions that skip must not be taken for packed documents, which transformers 5 does
        wherever they do not rise by one and no mask is given (masking_utils,
        find_packed_sequence_indices); those of packed documents must be, so they get none.
        """
        stacked = {key: torch.stack([each[key] for each in windows]) for key in windows[0]}
        if isinstance(self.sampler, FullLength):
            return stacked
        return {**stacked, "attention_mask": torch.ones_like(stacked["input_ids"])}


def require_window(
    documents: Sequence[Sized], sampler: PositionSampler, lengths: Lengths, remedy: str = ""
) -> None:
    """Raise RopewalkError where no document, by its tokens, is as long as a window.

    remedy  beside longer texts, in words; by default another sampler where one takes less
    """
    longest, tokens = max(map(len, documents), default=0), sampler.tokens(lengths)
    other = ", or train with --sampler pose" if tokens > lengths.trained else ""
    if longest < tokens:
        raise RopewalkError(
            f"the longest text to train on has {longest} tokens: expected at least {tokens}, a "
            f"window of the sampler {sampler.name}; give longer texts{remedy or other}"
        )
