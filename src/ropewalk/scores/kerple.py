"""KERPLE: kernels of the distance with a learned rate and shape in each head.

    LogKernel      bias_h(m, n) = -r1 ln(1 + r2 |m - n|)
    PowerKernel    bias_h(m, n) = -r1 |m - n|^r2,   r2 at most 2

r1, r2 > 0, one of each a head: kerple_r1, kerple_r2 ``[h]``. ALiBi is the power kernel at r2 = 1.

Source: Chi et al. 2022, KERPLE, arXiv:2205.09921, equations 4 and 5.
Deviation: none. As in released code r1 and r2 start uniform in (0, 2) and (0, 1), and values below
    0.01 count as 0.01.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.score_mods import Block, LayerShape, LearnedBias, Parameters, parameter
from ropewalk.scores.by_distance import looked_up

SMALLEST = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(LearnedBias):
    """Parameters: ``kerple_r1`` and ``kerple_r2``, ``[h]`` each."""

    distance_alone = True

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        return {"kerple_r1": 2 * torch.rand(shape.heads), "kerple_r2": torch.rand(shape.heads)}

    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        rate = parameter(parameters, "kerple_r1").clamp(min=SMALLEST)
        shape = parameter(parameters, "kerple_r2").clamp(min=SMALLEST)
        distances = block.distances.abs()
        each = torch.arange(int(distances.max()) + 1, device=distances.device)
        return looked_up(-rate * self.growth(each[:, None].to(rate.dtype), shape), distances)

    @abstractmethod
    def growth(self, distances: Tensor, shape: Tensor) -> Tensor:
        """``distances`` ``[i, 1]``, r2 ``[h]`` -> ``[i, h]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKernel(Kernel):
    """-r1 ln(1 + r2 D)."""

    def growth(self, distances: Tensor, shape: Tensor) -> Tensor:
        return torch.log1p(shape * distances)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerKernel(Kernel):
    """-r1 D^r2."""

    def growth(self, distances: Tensor, shape: Tensor) -> Tensor:
        # The gradient of 0^r2 is not a number: a distance of 0 is left out of the power.
        powers = distances.clamp(min=1) ** shape.clamp(max=2.0)
        return torch.where(distances > 0, powers, 0.0)
