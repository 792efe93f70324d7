"""What a verification asks of a model, whether it runs here or on a server."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Calls = Sequence[tuple[int, int]]
"""(start, stop) of each call through one key cache, in order."""


class Predictions(Protocol):
    """What a model predicts after each token of a sequence, a row for each token."""

    def __len__(self) -> int: ...

    def logits(self, start: int, stop: int) -> Tensor:
        """Of rows start .. stop, ``[rows, vocabulary]``: a few rows of a long sequence at a time.

        Log-probabilities are logits.
        """
        ...


class Predictor(Protocol):
    """A model whose encoding is chosen. Each request finds it as if nothing had run before.

    Sequences are int64 ``[n]``, on the CPU.
    """

    @property
    def name(self) -> str: ...

    @property
    def trained_length(self) -> int: ...

    @property
    def vocabulary_size(self) -> int: ...

    def in_turn(self, *sequences: Tensor) -> Sequence[Predictions]:
        """Each sequence in one call of its own, one after the other."""
        ...

    def in_calls(self, ids: Tensor, calls: Calls) -> Predictions:
        """One sequence in consecutive calls through one key cache."""
        ...

    def in_batch(self, *sequences: Tensor) -> Mapping[str, Sequence[Predictions]]:
        """All sequences in one call, under each way to state their positions, by its name."""
        ...


class LocalPredictor(Predictor, Protocol):
    """A predictor whose numbers are within reach."""

    @property
    def dtype(self) -> torch.dtype:
        """Of its activations."""
        ...

    @property
    def device(self) -> torch.device: ...

    def one_rounding_away(self, ids: Tensor) -> Predictions:
        """One call, every number of its embeddings moved by one rounding, up or down."""
        ...


@runtime_checkable
class SharedPredictor(LocalPredictor, Protocol):
    """A predictor whose sequences are shared out over ranks."""

    def alone(self, ids: Tensor) -> Predictions:
        """One call, every token of which is fed on one rank."""
        ...
