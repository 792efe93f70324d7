"""FIRE: a small network of the distance, as a share of what the row sees.

    bias_h(m, n) = f_h( psi(m - n) / psi(max(T, m)) ),   psi(x) = ln(|c| x + 1)

f   one hidden layer of relu units, one output a head. c and T are learned; T is |t| times its
    start. Beyond T distances are interpolated: the farthest key of a row is always at 1.

Parameters: fire_c ``[]``, fire_t ``[]``, fire_in ``[2, units]`` (weight, bias), fire_out
``[units + 1, h]`` (weights, then bias).

Source: Li et al. 2023, Functional Interpolation for Relative Positions, arXiv:2310.04418,
    equation 11 and the code of its appendix, with c = 0.1, T = 512 and 32 units.
Deviation: none. Where a model is trained at fewer than 512 tokens, T starts at that length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import Block, LayerShape, LearnedBias, Parameters, parameter
from ropewalk.scores.by_distance import looked_up

EPSILON = 1e-6
"""Of released code: keeps row 0 from dividing by nothing where T is 0."""
START_C = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FIRE(LearnedBias):
    """A network of the normalised distance. Raises RopewalkError for an impossible size.

    threshold  T at the start, in tokens
    units      of the hidden layer
    """

    threshold: int
    units: int = 32

    def __post_init__(self) -> None:
        if self.threshold < 1 or self.units < 1:
            raise RopewalkError(
                f"fire with threshold={self.threshold}, units={self.units}: expected at least 1"
            )

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        first, last = nn.Linear(1, self.units), nn.Linear(self.units, shape.heads)
        hidden = torch.stack([first.weight[:, 0], first.bias])
        return {
            "fire_c": torch.tensor(START_C),
            "fire_t": torch.tensor(1.0),
            "fire_in": hidden.detach(),
            "fire_out": torch.cat([last.weight.T, last.bias[None]]).detach(),
        }

    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        near = parameter(parameters, "fire_t").abs() * self.threshold
        distances = block.distances.abs()
        if bool((block.rows <= near).all()):
            # Up to T a function of the distance alone.
            each = torch.arange(int(distances.max()) + 1, device=distances.device)
            return looked_up(self._network(parameters, each, near), distances)
        reach = torch.maximum(block.rows.to(near.dtype), near)
        return self._network(parameters, distances, reach).movedim(-1, 1)

    def _network(self, parameters: Parameters, distances: Tensor, reach: Tensor) -> Tensor:
        """f of distances over ``reach``, which broadcasts with them: ``[..., h]``."""
        c = parameter(parameters, "fire_c").abs()
        hidden, out = parameter(parameters, "fire_in"), parameter(parameters, "fire_out")
        share = torch.log1p(c * distances) / (torch.log1p(c * reach) + EPSILON)
        units = torch.relu(share[..., None] * hidden[0] + hidden[1])
        found: Tensor = units @ out[:-1] + out[-1]
        return found
