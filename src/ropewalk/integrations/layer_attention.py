"""What an attention layer of a model does under us, as the hook asks for it."""

from typing import Protocol

from torch import Tensor

from ropewalk.attention.call import Call
from ropewalk.attention.softmax import Softmax


class LayerAttention(Protocol):
    """Attention of one layer over what the family's code hands to it."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        """``q`` ``[b, h, m, d]``, cached ``k``, ``v`` ``[b, g, n, .]`` -> ``[b, h, m, e]``."""
        ...

    def of_heads(self, first: int, all_heads: int) -> "LayerAttention":
        """The same for query heads from ``first`` on, of ``all_heads``."""
        ...
