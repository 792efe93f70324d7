"""How one layer's heads are rotated."""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import Turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rotary:
    """An encoding and where it applies in a head.

    first_channel    where the rotary channels start
    channel_weights  ``[d]``: multiply a product channel by channel, after rotation; None for ones
    """

    encoding: Encoding
    first_channel: int = 0
    channel_weights: Tensor | None = None

    def weighted(self, q: Tensor) -> Tensor:
        """Rotated queries times the channel weights."""
        return q if self.channel_weights is None else q * self.channel_weights


def rotated(x: Tensor, turn: Turn | None) -> Tensor:
    """``x``, or what ``turn`` makes of it."""
    return x if turn is None else turn.of(x)
