"""What an export is asked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.configs.keys import BESIDE_SPEED
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.engines.export.block import RopeBlock
from ropewalk.engines.patch import ConfigPatch
from ropewalk.frequencies.yarn_magnitude import yarn_mscale


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """A method over a checkpoint, for a context of ``length`` tokens.

    shape               the checkpoint, as its config says it
    section             what the config says about positions, full attention where layers differ
    spec                as typed
    encoding            what must be computed
    block               the same as a rope block
    softmax_multiplier  on qk_head_dim^-1/2: what the checkpoint was trained with
    """

    shape: ModelShape
    section: RopeSection
    spec: str
    encoding: Encoding
    block: RopeBlock
    length: int
    softmax_multiplier: float

    def rope_dict(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """A whole rope dict of the block, with ``keys`` for its magnitudes."""
        old, share = self.section.written, self.section.partial_rotary_factor
        partly = share < 1 and not self.section.latent_attention
        return {
            **{key: old[key] for key in BESIDE_SPEED if key in old},
            **({"partial_rotary_factor": share} if partly else {}),
            "rope_type": self.block.rope_type,
            "rope_theta": self.block.rope_theta,
            **self.block.parameters,
            **keys,
        }

    def patch(self, rope: Mapping[str, Any] | None, **others: float) -> ConfigPatch:
        """Keys to set: the rope dict where one is wanted, and others."""
        return ConfigPatch.of(self.shape, self.section, rope, others)

    @property
    def states_magnitude(self) -> bool:
        """Whether YaRN's attention factor is another one than it computes of the factor."""
        block = self.block
        computed = yarn_mscale(block.factor)
        return block.rope_type == "yarn" and not math.isclose(
            block.attention_factor, computed, rel_tol=1e-15
        )

    @property
    def latent_keys(self) -> dict[str, Any]:
        """mscale and mscale_all_dim of latent attention, as DeepSeek's released code reads them.

            m(s, mscale_all_dim)^2 = softmax multiplier,  m(s, mscale) / m(s, mscale_all_dim) = A

        Empty for other attention, and where both magnitudes are 1.
        """
        factor, root = self.block.factor, math.sqrt(self.softmax_multiplier)
        if not self.section.latent_attention or factor <= 1:
            return {}
        mscale = mscale_for(self.block.attention_factor * root, factor)
        return {"mscale": mscale, "mscale_all_dim": mscale_for(root, factor)}


def mscale_for(magnitude: float, factor: float) -> float:
    """The k of m(s, k) = magnitude; 0 where s or the magnitude is 1."""
    if factor <= 1 or magnitude == 1:
        return 0.0
    return (magnitude - 1) / (0.1 * math.log(factor))
