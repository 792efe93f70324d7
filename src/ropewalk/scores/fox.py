"""FoX, forgetting attention: logits fall by what has been forgotten between a key and its row.

    bias_h(m, n) = sum of ln f_h(j) for n < j <= m,   f_h(j) = sigmoid(w_h . x_j + b_h)

x_j   hidden state of token j: the distance is measured in gates, which the data open and close.

Parameters: fox_weight ``[h, width]``, fox_bias ``[h]``; of keys: fox_forget ``[b, n, h]``, ln f. A
row's own gate is that of its key: rows are the last of the keys.

Source: Lin et al. 2025, Forgetting Transformer, arXiv:2503.02130, equations 5 and 6.
Deviation: none. The paper starts b at 0 or spread over heads; here it starts at 2, so that a token
    is forgotten after about eight others and not after two. Sums are float64, counted from the
    first row of a block: over 100,000 tokens float32 sums lose 1e-2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.core.rotation import work_dtype
from ropewalk.core.score_mods import Block, LayerShape, LearnedBias, Parameters, parameter

START_BIAS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoX(LearnedBias):
    """A cumulative sum of log forget gates."""

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        return {
            "fox_weight": torch.randn(shape.heads, shape.width) * 0.02,
            "fox_bias": torch.full((shape.heads,), START_BIAS),
        }

    def of_keys(self, parameters: Parameters, hidden: Tensor) -> dict[str, Tensor]:
        weight = parameter(parameters, "fox_weight")
        gates = hidden.to(weight.dtype) @ weight.T + parameter(parameters, "fox_bias")
        return {"fox_forget": functional.logsigmoid(gates)}

    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        forget = parameter(parameters, "fox_forget")[block.batch]
        sums = forget.double().cumsum(dim=1).movedim(1, 2)
        before = sums.shape[-1] - block.all_queries
        rows = sums[..., block.queries.start + before : block.queries.stop + before]
        keys = sums[..., block.key_range]
        # Counted from the block's first row: what is near it, and so matters, is small.
        start, dtype = rows[..., :1], work_dtype(block.q.dtype)
        return (rows - start).to(dtype)[..., None] - (keys - start).to(dtype)[..., None, :]
