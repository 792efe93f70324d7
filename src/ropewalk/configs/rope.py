"""The rotation of one layer type, whatever the dialect: ``RopeSection``.

Two generations of transformers (``rope_scaling``, ``rope_parameters``) and five spellings of a
partial rotation become one record. Where sources disagree:

- the text model's keys win over the outer config's, ``rope_scaling`` over ``rope_parameters``,
  ``rope_type`` over ``type``, keys inside the rope dict over those beside it;
- ``original_max_position_embeddings`` beside a flat rope dict wins over the one inside it, and
  does not count beside per-layer-type dicts; absent, it is ``max_position_embeddings``;
- types that do not refer to it (dynamic and linear among them) take ``max_trained_positions``,
  else ``max_position_embeddings``, as the trained length.
"""

import math
import reprlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.keys import (
    BESIDE_SPEED,
    FULL,
    HEADS,
    HIDDEN,
    LENGTHS,
    ORIGINAL,
    REACHED,
    SHARES,
    THETAS,
    TRAINED,
)
from ropewalk.configs.numbers import (
    LARGEST_HEAD_DIM,
    LARGEST_LENGTH,
    first,
    first_name,
    integer,
    number,
    numbers,
    optional,
)
from ropewalk.configs.rope_dicts import RopeDict
from ropewalk.configs.text import model_type
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import Pairing, RopeGeometry

TYPES_FROM_ORIGINAL = frozenset({"yarn", "longrope", "llama3"})
"""Rope types that refer to ``original_max_position_embeddings``."""
_TYPE_ALIASES = {"su": "longrope", "mrope": "default"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeSection:
    """What a config says about positions, for one layer type, in one spelling.

    layer_type               the layer type read, or None where the config knows one kind
    rope_type                "default" or the name of a scaling, aliases resolved
    head_dim                 channels of a head; the rotary part alone in latent attention (MLA)
    max_position_embeddings  the length that the config admits, in tokens
    longest_key              the key that states it
    reached                  a longer one under max_sequence_length, which linear scalings may state
    trained_length           L0, in tokens: the length that ``rope_type`` refers to
    trained_length_key       the key that states it
    softmax_scale            sigma of the architecture, before MLA's mscale
    latent_attention         whether this is MLA whose softmax scale takes YaRN's mscale
    parameters               the remaining keys of the rope dict in force, lists as tuples
    written                  the rope dict in force as it stands in the config
    nested                   whether the config has one rope dict for each layer type
    """

    model_type: str
    layer_type: str | None
    rope_type: str
    rope_theta: float
    head_dim: int
    partial_rotary_factor: float
    pairing: Pairing
    max_position_embeddings: int
    longest_key: str
    reached: int | None
    trained_length: int
    trained_length_key: str
    softmax_scale: float
    latent_attention: bool
    parameters: Mapping[str, Any]
    written: Mapping[str, Any]
    nested: bool

    def geometry(self) -> RopeGeometry:
        """What the checkpoint was trained with."""
        return RopeGeometry(
            head_dim=self.head_dim,
            rope_theta=self.rope_theta,
            trained_length=self.trained_length,
            partial_rotary_factor=self.partial_rotary_factor,
            pairing=self.pairing,
        )

    def number(self, name: str) -> float | None:
        """A rope parameter, None where it is absent or null; RopewalkError if not a number."""
        return optional(self.parameters, name)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """A rope parameter that is a list of numbers, None where there is none."""
        return numbers(self.parameters, name)

    def unread(self, read: Container[str]) -> tuple[str, ...]:
        """Stated keys of the rope dict that are not in ``read``, as they stand there."""
        return tuple(
            key
            for key, value in self.parameters.items()
            if value is not None and key not in read and key not in BESIDE_SPEED
        )


def read_rope(text: Mapping[str, Any], rope: RopeDict) -> RopeSection:
    """Normalise the keys of a text model and of the rope dict of one layer type.

    Raises RopewalkError for numbers that make no rotation.
    """
    rope_type = _rope_type(rope.keys)
    longest, longest_key = read_longest(text)
    trained, trained_key = _trained_length(text, rope, rope_type) or (longest, longest_key)
    head_dim, latent = _head_dim(text, rope.layer_type), _is_latent(text)
    share = _share(text, rope.keys, head_dim)
    if latent and rope_type == "proportional":
        raise RopewalkError(
            "rope_type=proportional with latent attention: no released model says which channels "
            "it counts; expected another rope_type"
        )
    section = RopeSection(
        model_type=model_type(text),
        layer_type=rope.layer_type,
        rope_type=rope_type,
        rope_theta=_theta(text, rope.keys),
        head_dim=head_dim,
        partial_rotary_factor=1.0 if latent or rope_type == "proportional" else share,
        pairing=_pairing(text),
        max_position_embeddings=longest,
        longest_key=longest_key,
        reached=_reached(text, longest),
        trained_length=trained,
        trained_length_key=trained_key,
        softmax_scale=_softmax_scale(text, head_dim),
        latent_attention=latent and not text.get("compress_ratios"),
        parameters=_parameters(rope.keys, share if rope_type == "proportional" else None),
        written=rope.keys,
        nested=rope.nested,
    )
    section.geometry()
    return section


def _rope_type(rope: Mapping[str, Any]) -> str:
    name = first(rope, ("rope_type", "type"))
    if name is None and rope.get("factor") is not None:
        raise RopewalkError('factor without rope_type: expected for example "rope_type": "yarn"')
    if not isinstance(name, str | None):
        raise RopewalkError(f"rope_type={reprlib.repr(name)}: expected a name such as yarn")
    return "default" if name is None else _TYPE_ALIASES.get(name, name)


def read_longest(text: Mapping[str, Any]) -> tuple[int, str]:
    """The length that a config admits, and the key that states it."""
    names: tuple[str, ...] = LENGTHS
    if model_type(text) in families.MODEL_MAX_LENGTH:
        names = ("model_max_length", *LENGTHS)
    name = first_name(text, names)
    if name is None:
        raise RopewalkError("no max_position_embeddings: expected a number of tokens; add it")
    return integer(text[name], LENGTHS[0], smallest=2, largest=LARGEST_LENGTH), name


def _reached(text: Mapping[str, Any], longest: int) -> int | None:
    value = text.get(REACHED)
    if value is None:
        return None
    found = integer(value, REACHED, smallest=2, largest=LARGEST_LENGTH)
    return found if found > longest else None


def _trained_length(
    text: Mapping[str, Any], rope: RopeDict, rope_type: str
) -> tuple[int, str] | None:
    name = ORIGINAL if rope_type in TYPES_FROM_ORIGINAL else TRAINED
    beside = None if rope.nested and name == ORIGINAL else text.get(name)
    value = rope.keys.get(name) if beside is None else beside
    if value is None:
        return None
    return integer(value, name, smallest=2, largest=LARGEST_LENGTH), name


def _is_latent(text: Mapping[str, Any]) -> bool:
    return text.get("qk_rope_head_dim") is not None


def _head_dim(text: Mapping[str, Any], layer_type: str | None) -> int:
    wider = ("global_head_dim",) if layer_type == FULL else ()
    value = first(text, ("qk_rope_head_dim", *wider, "head_dim"))
    if value is not None:
        return integer(value, "head_dim", smallest=1, largest=LARGEST_HEAD_DIM)
    hidden, heads = first(text, HIDDEN), first(text, HEADS)
    if hidden is None or heads is None:
        raise RopewalkError("no head_dim: expected it, or hidden_size and num_attention_heads")
    width = integer(hidden, HIDDEN[0]) // integer(heads, HEADS[0], smallest=1)
    return integer(width, "head_dim", smallest=1, largest=LARGEST_HEAD_DIM)


def _share(text: Mapping[str, Any], rope: Mapping[str, Any], head_dim: int) -> float:
    value = rope.get(SHARES[0])
    value = first(text, SHARES) if value is None else value
    if value is not None:
        return number(value, SHARES[0])
    read = model_type(text) not in families.ROTARY_DIM_UNREAD
    stated = (read and text.get("rotary_dim")) or head_dim
    rotating = integer(stated, "rotary_dim", smallest=1, largest=head_dim)
    share = rotating / head_dim
    # A quotient that was rounded down would lose a channel when it is multiplied back.
    return share if int(head_dim * share) == rotating else math.nextafter(share, 1.0)


def _theta(text: Mapping[str, Any], rope: Mapping[str, Any]) -> float:
    value = rope.get(THETAS[0])
    value = first(text, THETAS) if value is None else value
    if value is not None:
        return number(value, THETAS[0])
    if THETAS[0] in rope or THETAS[0] in text:
        raise RopewalkError("rope_theta=null: expected a number above 1; add it")
    return families.theta(model_type(text))


def _softmax_scale(text: Mapping[str, Any], head_dim: int) -> float:
    """sigma: stated (Granite, Gemma 2 and 3), else one over the root of the head's width."""
    for name, power in (("attention_multiplier", 1.0), ("query_pre_attn_scalar", -0.5)):
        value = optional(text, name)
        if value is not None and value > 0:
            return float(value**power)
    if text.get("compress_ratios") and text.get("head_dim") is not None:  # DeepSeek-V4
        return float(integer(text["head_dim"], "head_dim", smallest=1) ** -0.5)
    passing = optional(text, "qk_nope_head_dim") if _is_latent(text) else None
    return float((head_dim + integer(passing or 0, "qk_nope_head_dim")) ** -0.5)


def _pairing(text: Mapping[str, Any]) -> Pairing:
    interleaved = families.pairing(model_type(text)) == "interleaved"
    return "interleaved" if text.get("rope_interleave", interleaved) else "half"


def _parameters(rope: Mapping[str, Any], share: float | None) -> Mapping[str, Any]:
    kept = {
        str(key): tuple(value) if isinstance(value, list) else value
        for key, value in rope.items()
        if key not in ("rope_type", "type", THETAS[0], SHARES[0])
    }
    return MappingProxyType(kept if share is None else {**kept, SHARES[0]: share})
