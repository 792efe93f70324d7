"""What a checkpoint was trained with: the part of position encoding that no method may change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError

Pairing = Literal["half", "interleaved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeGeometry:
    """Head width, base, trained length and pairing of a checkpoint.

    head_dim               channels of a head
    rope_theta             base b: pair i turns by b^(-2i/d) radians a token, d = rotary_dim
    trained_length         L0, in tokens: the length that the checkpoint's scaling refers to
    partial_rotary_factor  share of the channels that turn
    pairing                ``half``: channels i and i + d/2 turn together (Llama);
                           ``interleaved``: channels 2i and 2i + 1 (GPT-J)

    Raises RopewalkError for values with which no rotation exists.
    """

    head_dim: int
    rope_theta: float
    trained_length: int
    partial_rotary_factor: float = 1.0
    pairing: Pairing = "half"
    from_config: ClassVar[Callable[[Mapping[str, Any]], "RopeGeometry"]]
    """The geometry of a parsed config.json; given by ``ropewalk.configs.geometry``."""

    def __post_init__(self) -> None:
        if self.head_dim < 2:
            raise RopewalkError(f"head_dim={self.head_dim}: expected at least 2 channels")
        if not 0 < self.partial_rotary_factor <= 1:
            raise RopewalkError(
                f"partial_rotary_factor={self.partial_rotary_factor}: expected a share in (0, 1]"
            )
        if self.rotary_dim < 2:
            raise RopewalkError(
                f"partial_rotary_factor={self.partial_rotary_factor} of head_dim={self.head_dim} "
                f"leaves {self.rotary_dim} channels to turn; expected at least 2"
            )
        if self.rotary_dim == self.head_dim and self.head_dim % 2:
            raise RopewalkError(
                f"head_dim={self.head_dim}: a fully rotated head needs an even head_dim"
            )
        if not self.rope_theta > 1 or self.rope_theta == float("inf"):
            raise RopewalkError(f"rope_theta={self.rope_theta}: expected a finite number above 1")
        if not 2 <= self.trained_length <= 2**40:
            raise RopewalkError(f"trained_length={self.trained_length}: expected 2 to 2^40 tokens")

    @property
    def rotary_dim(self) -> int:
        """Channels that turn."""
        return int(self.head_dim * self.partial_rotary_factor)

    def inv_freq(self) -> Tensor:
        """theta of unscaled RoPE, float64 ``[f]``."""
        return rope_inv_freq(self.rotary_dim, self.rope_theta)


def rope_inv_freq(rotary_dim: int, rope_theta: float) -> Tensor:
    """Unscaled RoPE: theta_i = b^(-2i/d) for i = 0 .. ceil(d/2) - 1, float64 ``[f]``.

    Source: Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.2.2.
    Deviation: none. An odd d (partial rotary only) keeps exponents over d, as released code does.
    """
    exponents = torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim
    return rope_theta**-exponents
