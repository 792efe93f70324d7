"""What measuring asks of a model."""

from typing import NamedTuple, Protocol, runtime_checkable

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


class WaveSlope(NamedTuple):
    """Losses, and how their sum falls with the waves.

    losses     float64 ``[n - first]``: nats
    divisors   float64 ``[f]``: d sum / d ln lambda, for theta_i / lambda_i
    magnitude  d sum / d ln of the size of both waves
    """

    losses: Tensor
    divisors: Tensor
    magnitude: float


@runtime_checkable
class SlopedModel(Protocol):
    """A causal model through whose waves a loss can be differentiated."""

    def wave_slope(self, ids: Tensor, first: int) -> WaveSlope:
        """Of ``ids[first:]`` of one sequence ``[n]``, fed in one call; all on the CPU.

        Raises RopewalkError where the encoding is more than one rotation of true positions.
        """
        ...
