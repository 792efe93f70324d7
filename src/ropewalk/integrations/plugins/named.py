"""A method that a rope dict names, as the cos and sin that an engine rotates by.

    {"rope_type": "ropewalk", "spec": "yarn:factor=4,ramp=paper", "rope_theta": 10000.0,
     "original_max_position_embeddings": 256}

An engine keeps one table for all requests and stores keys rotated. So a method qualifies whose
rotation is settled and at true positions; a position map gives a key several positions, and needs
un-rotated keys and an attention of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.integrations.plugins.wanted import NAME
from ropewalk.methods.spec import NATIVE, parse_spec

_SPEC, _ORIGINAL, _SECTIONS = "spec", "original_max_position_embeddings", "mrope_section"
_EXAMPLE = '"spec": "yarn:factor=4"'


def is_named(rope: Mapping[str, Any] | None) -> bool:
    """Whether a rope dict names a method of ours.

    Raises RopewalkError for one that did, and whose type was changed on the way: models of latent
    attention force YaRN of their own, with a softmax scale that no rotation says.
    """
    if rope is None:
        return False
    kind = rope.get("rope_type", rope.get("type"))
    if kind != NAME and _SPEC in rope:
        raise RopewalkError(
            f"rope_type {NAME}: this model makes {kind} of it in the engine; expected a model "
            "without latent attention, or the flags that ropewalk export prints"
        )
    return bool(kind == NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRotation:
    """The rotation of one method over one kind of layer.

    row m = A [cos(m theta_0) .. cos(m theta_f), sin(m theta_0) .. sin(m theta_f)]
    """

    encoding: Encoding

    @classmethod
    def of(
        cls,
        rope: Mapping[str, Any],
        *,
        rotary_dim: int,
        rope_theta: float,
        max_position: int,
        dual_chunk: Mapping[str, Any] | None = None,
    ) -> "NamedRotation":
        """What a rope dict asks for.

        rotary_dim    channels that the engine turns
        max_position  the config's ``max_position_embeddings``: L0 where the dict states none
        dual_chunk    the config's ``dual_chunk_attention_config``

        Raises RopewalkError for a dict without a spec, and for a method that no table holds.
        """
        spec = rope.get(_SPEC)
        if not isinstance(spec, str):
            raise RopewalkError(f"rope_type {NAME} without a method: expected {_EXAMPLE} beside it")
        if _SECTIONS in rope or dual_chunk is not None:
            other = _SECTIONS if _SECTIONS in rope else "dual_chunk_attention_config"
            raise RopewalkError(
                f"rope_type {NAME} beside {other}: expected one position a token; drop one of them"
            )
        stated = rope.get(_ORIGINAL)
        trained = max_position if stated is None else stated
        geometry = RopeGeometry(
            head_dim=rotary_dim, rope_theta=float(rope_theta), trained_length=int(trained)
        )
        return cls(encoding=_settled(spec, geometry))

    @property
    def _length(self) -> int:
        return self.encoding.settled_length or self.encoding.geometry.trained_length

    def inv_freq(self) -> Tensor:
        """theta, radians a token, float32 ``[f]``."""
        return self.encoding.rotation.inv_freq(self._length).float()

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows start .. stop of the table, float32 ``[stop - start, 2 f]``, from float64 angles."""
        with torch.device("cpu"):  # an engine builds models on another device, or on none
            rotation = self.encoding.rotation
            positions = torch.arange(start, stop, dtype=torch.float64)
            angles = positions[:, None] * rotation.inv_freq(self._length)
            size = rotation.attention_factor(self._length)
            return torch.cat([angles.cos() * size, angles.sin() * size], dim=-1).float()


def _settled(text: str, geometry: RopeGeometry) -> Encoding:
    """The encoding of a spec, at one length for all rows.

    Raises RopewalkError for what one table of cos and sin does not say.
    """
    spec = parse_spec(text)
    if any(part.name == NATIVE for part in spec.parts):
        raise RopewalkError(
            f"{text} inside an engine: expected a method; drop the rope dict, which leaves the "
            "engine its own encoding"
        )
    if any(part.length_from_request for part in spec.parts):
        raise RopewalkError(_one_length(text, "policy=at_admission"))
    encoding = spec.encoding(geometry)
    if encoding.rotation_only:
        _check_width(text, encoding, geometry)
        return encoding
    if encoding.row_dependent:
        raise RopewalkError(_one_length(text, "a base that follows the sequence"))
    raise RopewalkError(
        f"{text} inside an engine, which stores keys rotated at one position each: expected a "
        "method that is a rotation alone, such as yarn; rw.extend in transformers computes this one"
    )


def _one_length(text: str, asked: str) -> str:
    return (
        f"{text} inside an engine: {asked}, and one table serves all requests; expected "
        "policy=fixed,length=N with the N that is served"
    )


def _check_width(text: str, encoding: Encoding, geometry: RopeGeometry) -> None:
    turned = 2 * len(encoding.rotation.inv_freq(geometry.trained_length))
    if turned != geometry.rotary_dim:
        raise RopewalkError(
            f"{text} turns {turned} channels and the engine {geometry.rotary_dim}: expected as "
            "many; correct partial_rotary_factor"
        )
