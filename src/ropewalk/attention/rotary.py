"""How one layer's heads are encoded."""

from dataclasses import dataclass, field

from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import Turn
from ropewalk.core.score_mods import Block, Parameters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rotary:
    """An encoding and where it applies in a head.

    first_channel    where the rotary channels start
    channel_weights  ``[d]``: multiply a product channel by channel, after rotation; None for ones
    parameters       of the encoding's learned terms
    """

    encoding: Encoding
    first_channel: int = 0
    channel_weights: Tensor | None = None
    parameters: Parameters = field(default_factory=dict)

    def bias(self, block: Block) -> Tensor | None:
        """What the encoding adds to the logits of a block, ``[b or 1, h, m, n]``; or None."""
        fixed = self.encoding.bias(block.heads, block.rows, block.keys)
        biases = [] if fixed is None else [fixed.transpose(0, 1)]
        biases += [term.bias(self.parameters, block) for term in self.encoding.learned]
        return sum(biases[1:], biases[0]) if biases else None

    def weighted(self, q: Tensor) -> Tensor:
        """Rotated queries times the channel weights."""
        return q if self.channel_weights is None else (q * self.channel_weights).to(q.dtype)


def rotated(x: Tensor, turn: Turn | None) -> Tensor:
    """``x``, or what ``turn`` makes of it."""
    return x if turn is None else turn.of(x)
