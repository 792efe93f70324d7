"""What measuring asks of a model."""

from typing import Protocol

from torch import Tensor

from ropewalk.core.passes import Pass


class LanguageModel(Protocol):
    """A causal model whose encoding is already chosen."""

    def token_losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        """Negative log-likelihood in nats of ``ids[first:]``, each given all ids before it.

        ids     int64 ``[n]``, one sequence, or ``[b, n]``, several of equal length at once
        first   index of the first scored token, at least 1
        split   how a sequence is fed to the model

        Returns float64 ``[n - first]`` or ``[b, n - first]``, on the CPU. Never holds
        ``[n, vocabulary]`` logits.
        """
        ...
