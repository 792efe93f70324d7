"""Gradients through the waves of an extended model.

    theta_i -> theta_i exp(-u_i),  size -> size * exp(v);   d loss / d u and d loss / d v at 0

u is ln lambda beside the divisors in force, v the logarithm of the magnitude.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies, Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.language_model import WaveSlope
from ropewalk.core.loss import token_losses
from ropewalk.integrations.output_layer import decoder_of, family_head
from ropewalk.integrations.placement import input_device, placed_ids
from ropewalk.integrations.rotary import EncodedRotary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bent(Frequencies):
    """Frequencies whose waves depend on u ``[f]`` and v ``[]``, both 0."""

    geometry: RopeGeometry
    straight: Frequencies
    u: Tensor
    v: Tensor

    def inv_freq(self, context_length: int) -> Tensor:
        return self.straight.inv_freq(context_length).to(self.u.device) * torch.exp(-self.u)

    def size(self, positions: Tensor, lengths: int | Tensor, side: Side) -> Tensor:
        return self.straight.size(positions, lengths, side) * torch.exp(self.v)

    def wave(self, positions: Tensor, lengths: int | Tensor, side: Side) -> Tensor:
        angles, size = self.angles(positions, lengths), self.size(positions, lengths, side)
        return torch.complex(angles.cos() * size, angles.sin() * size)


def wave_slope(model: nn.Module, ids: Tensor, first: int) -> WaveSlope:
    """As ``SlopedModel.wave_slope``, of a model that is extended by a rotation alone.

    Parameters get no gradient. Raises RopewalkError for any other model, and for start tokens.
    """
    rotaries = [each for each in model.modules() if isinstance(each, EncodedRotary)]
    if not rotaries or not all(_plain(each) for each in rotaries):
        raise RopewalkError(
            "gradients through the waves: expected a model with one rotation of true positions in "
            "force, without start tokens; use another way to search"
        )
    device = input_device(model)
    pairs = len(rotaries[0].encoding.rotation.inv_freq(ids.shape[-1]))
    u = torch.zeros(pairs, dtype=torch.float64, device=device, requires_grad=True)
    v = torch.zeros((), dtype=torch.float64, device=device, requires_grad=True)
    row = placed_ids(model, ids[None])
    with torch.enable_grad(), _frozen(model), _bent(rotaries, u, v):
        states = decoder_of(model)(row, use_cache=False).last_hidden_state[0, first - 1 : -1]
        with family_head(model) as head:
            losses = token_losses(states, row[0, first:], head)
        slopes = torch.autograd.grad(losses.sum(), (u, v))
    return WaveSlope(losses.detach().cpu(), slopes[0].cpu(), float(slopes[1]))


def _plain(rotary: EncodedRotary) -> bool:
    return rotary.encoding.rotation_only and rotary.encoding.rotation.shift_invariant


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    trained = [each for each in model.parameters() if each.requires_grad]
    try:
        for each in trained:
            each.requires_grad = False
        yield
    finally:
        for each in trained:
            each.requires_grad = True


@contextmanager
def _bent(rotaries: list[EncodedRotary], u: Tensor, v: Tensor) -> Iterator[None]:
    before = [each.encoding for each in rotaries]
    try:
        for rotary, encoding in zip(rotaries, before, strict=True):
            straight = encoding.rotation
            bent = _Bent(geometry=straight.geometry, straight=straight, u=u, v=v)
            rotary.encoding = replace(encoding, frequencies=bent)
        yield
    finally:
        for rotary, encoding in zip(rotaries, before, strict=True):
            rotary.encoding = encoding
