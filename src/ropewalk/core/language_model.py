"""What measuring asks of a model."""

from typing import Protocol

from torch import Tensor

from ropewalk.core.passes import Pass


class LanguageModel(Protocol):
    """A causal model whose encoding is already chosen."""

    def token_losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        """Negative log-likelihood in nats of ``ids[first:]``, each given all ids before it.

        ids     int64 ``[n]``, one sequence
        first   index of the first scored token, at least 1
        split   how the sequence is fed to the model

        Returns float64 ``[n - first]``. Never holds ``[n, vocabulary]`` logits.
        """
        ...
