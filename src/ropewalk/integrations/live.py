"""The rotation that a live model really applies, as its rotary modules answer.

    theta_i = phase_i(2^k) / 2^k,      size_i = |wave_i|

A rotary module's cosines and sines at positions 0, 1, 2, 4, ... are waves. Each doubling gives a
pair's phase up to whole turns, and the step before says how many: so theta is known to the
rounding of the farthest position, however slowly a pair rotates. Nothing is read from buffers or
configs: what a tool patched, a trainer forgot or a wrapper hid shows.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.choice import of_positioned
from ropewalk.integrations.extension import EXTENSION, Extension
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.placement import input_device
from ropewalk.integrations.probe import family_of, probe_ids, running, seeing_answers
from ropewalk.integrations.seam import Seam
from ropewalk.integrations.wrappers import unwrapped

RELATIVE = 1e-3
"""Of a frequency or a size: float32 angles and bfloat16 tables are that exact, no method's numbers
are that near to another's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveRotation:
    """One answer of a rotary module.

    inv_freq  float64 ``[f]``, radians a token
    size      float64 ``[f]``: the attention factor of each pair; None where it is not known
    farthest  largest position that was asked for
    rounding  relative, of what was measured: 1 stands for float32 angles and bfloat16 tables
    """

    name: str
    inv_freq: Tensor
    size: Tensor | None
    farthest: int
    rounding: float = 1.0

    def difference(self, encoding: Encoding) -> str | None:
        """What is off against an encoding, in words; None where nothing is."""
        frequencies = encoding.rotation
        lengths = torch.tensor([[self.farthest]]), torch.tensor([self.farthest + 1])
        length = int(encoding.row_lengths(*lengths))
        theta, factor = frequencies.inv_freq(length), frequencies.attention_factor(length)
        if theta.shape != self.inv_freq.shape:
            return f"{len(self.inv_freq)} pairs rotate, {len(theta)} should"
        # A phase of 0.002 radians.
        room = RELATIVE * theta.abs() + 2e-3 * self.rounding / self.farthest
        off = ((self.inv_freq - theta).abs() - room).clamp(min=0)
        if bool(off.any()):
            pair = int(off.argmax())
            live, wanted = float(self.inv_freq[pair]), float(theta[pair])
            return f"pair {pair} rotates {live:.4g} radians a token, {wanted:.4g} asked for"
        if self.size is None:
            return None
        if bool(((self.size - factor).abs() > 4 * RELATIVE * self.rounding * factor).any()):
            return f"attention factor {float(self.size.mean()):.4f}, {factor:.4f} asked for"
        return None


def live_rotations(model: nn.Module, farthest: int) -> list[LiveRotation]:
    """Of each rotary module that a forward pass asks, up to position ``farthest``.

    Raises RopewalkError for a model without rotary modules, or whose code does not run.
    """
    doublings = doublings_to(farthest)
    base: Any = unwrapped(model)
    device = input_device(base)
    positions = torch.tensor([doublings], device=device)
    ids = probe_ids(base)[:, :1].expand(1, len(doublings))
    answers: list[tuple[str, Any]] = []

    def see(name: str, answer: Any) -> Any:
        answers.append((name, answer))
        return answer

    with at_rest(base), seeing_answers(base, see), running(base, "at far positions"):
        base(ids, position_ids=positions, use_cache=False)
    if not answers:
        raise RopewalkError(f"{family_of(base)}: no rotary module was asked; expected one")
    waves = [(name, _wave(answer)) for name, answer in answers]
    return [of_waves(name, wave, wave.abs().mean(dim=0), doublings) for name, wave in waves]


def doublings_to(farthest: int) -> list[int]:
    """0, 1, 2, 4, ... up to ``farthest``."""
    return [0, *(2**k for k in range(farthest.bit_length()) if 2**k <= farthest)]


def encodings_in_force(model: nn.Module) -> list[Encoding] | None:
    """Of an extension whose attention rotates, in full or in part; None without one."""
    extension = getattr(unwrapped(model), EXTENSION, None)
    if isinstance(extension, Extension) and extension.seam is Seam.ATTENTION:
        return list(of_positioned(extension.layout, extension.wanted).values())
    return None


def of_waves(
    name: str,
    wave: Tensor,
    size: Tensor | None,
    positions: list[int],
    dtype: torch.dtype = torch.float32,
) -> LiveRotation:
    """From complex ``[n, f]`` at 0 and doublings of 1.

    size   as in ``LiveRotation``
    dtype  of the numbers that they were taken from
    """
    phases = wave[1:].angle()  # [k, f] at 1, 2, 4, ...
    theta = phases[0]
    for position, phase in zip(positions[2:], phases[1:], strict=True):
        turns = ((theta * position - phase) / (2 * torch.pi)).round()
        theta = (phase + 2 * torch.pi * turns) / position
    return LiveRotation(
        name=name,
        # Which way a family turns is its own affair.
        inv_freq=theta if float(theta.sum()) >= 0 else -theta,
        size=size,
        farthest=positions[-1],
        rounding=1.0 if dtype in (torch.float32, torch.float64) else 10.0,
    )


def _wave(answer: Any) -> Tensor:
    """Complex ``[positions, f]`` of what a rotary module answers."""
    if isinstance(answer, Tensor):
        return answer.reshape(-1, answer.shape[-1]).to(torch.complex128)
    cos, sin = (each.double().reshape(-1, each.shape[-1]) for each in answer[:2])
    half = cos.shape[-1] // 2
    if half and torch.equal(cos[:, :half], cos[:, half:]):
        cos, sin = cos[:, :half], sin[:, :half]
    elif half and torch.equal(cos[:, 0::2], cos[:, 1::2]):
        cos, sin = cos[:, 0::2], sin[:, 0::2]
    return torch.complex(cos, sin)
