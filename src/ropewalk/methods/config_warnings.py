"""What a config says about positions that does not do what it seems to: warnings as data.

Each warning is a record of strings: ``id``, ``message`` and ``remedy``. The ids:

unread-key          a key of the rope dict that no rule of its rope_type reads
two-rope-dicts      rope_scaling and rope_parameters disagree
two-lengths         original_max_position_embeddings stands in two places with two values
position-precision  the config's dtype cannot tell all positions apart
mrope-sections      mrope_section does not sum to the pairs that rotate
xpos-overflow       xPos scales leave the range of float16
unread-switch       a key that switches rotation or windows, which the family's class does not read
dict-beside-section a rope dict outside the section of the text model
unknown-layers      what the layers are cannot be read, though their number is stated
"""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import LAYERS, ORIGINAL
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.configs.text import rope_beside_section
from ropewalk.configs.unknown import Unknown
from ropewalk.methods.from_config import ROPE_TYPES

_SIGNIFICAND_BITS: Mapping[str, int] = MappingProxyType({"bfloat16": 8, "float16": 11})
_XPOS_KEYS = ("use_xpos", "xpos", "rotary_xpos", "xpos_rel_pos", "xpos_scale_base")
_XPOS_BASES = ("xpos_scale_base", "rotary_emb_scale_base")
_XPOS_DEFAULT_BASE = 512.0
_LARGEST_FLOAT16 = 65504.0


def config_warnings(
    shape: ModelShape, section: RopeSection, context_length: int
) -> list[dict[str, str]]:
    """The warnings of a config, for the layer type of ``section``, at a context of N tokens."""
    text = shape.text
    return [
        *_unread_keys(section),
        *_two_rope_dicts(text),
        *_two_lengths(text),
        *_mrope_sections(section),
        *_position_precision(text, context_length),
        *_xpos_overflow(text),
        *_unread_switches(shape),
        *_dict_beside_section(shape),
        *_unknown_layers(shape),
    ]


def distinct_positions(length: int, significand_bits: int) -> int:
    """How many of the whole numbers 0 .. length - 1 stay distinct when rounded to p bits.

        all up to 2^p; beyond, 2^(p - 1) in each octave [2^e, 2^(e + 1))

    significand_bits  p, the hidden bit among them: 8 in bfloat16, 11 in float16

    Source: IEEE 754, round half to even; float16's infinity beyond 65,504 is left out.
    """
    last, exact = length - 1, 2**significand_bits
    if last <= exact:
        return length
    octave = last.bit_length() - 1
    step = 2 ** (octave - significand_bits + 1)
    whole, rest = divmod(last - 2**octave, step)
    up = 2 * rest > step or (2 * rest == step and whole % 2 == 1)
    return int(exact + 1 + (octave - significand_bits) * exact // 2 + whole + up)


def _warning(name: str, message: str, remedy: str) -> dict[str, str]:
    return {"id": name, "message": message, "remedy": remedy}


def _unread_keys(section: RopeSection) -> Iterator[dict[str, str]]:
    """Keys of the rope dict that change nothing in what is shown, sorted."""
    rope_type = ROPE_TYPES.get(section.rope_type)
    read = {*(rope_type.reads if rope_type else ())}
    if section.latent_attention:
        read |= {"apply_yarn_scaling"}
    if section.rope_type == "yarn" and not section.parameters.get("mscale_all_dim"):
        read -= {"mscale"}
    for key in sorted(section.unread(read)):
        yield _warning(
            "unread-key",
            f"{key} in a rope dict of type {section.rope_type}: nothing reads it",
            f"drop {key}, or say a rope_type that has it",
        )


def _unread_switches(shape: ModelShape) -> Iterator[dict[str, str]]:
    for key in shape.unread:
        yield _warning(
            "unread-switch",
            f"{key} is {shape.text[key]!r:.40}: the library's class of {shape.model_type} does not "
            "read it, and nothing is switched",
            f"drop {key}, or use a family that reads it",
        )


def _dict_beside_section(shape: ModelShape) -> Iterator[dict[str, str]]:
    if rope_beside_section(shape.config):
        section = ".".join(shape.text_section)
        yield _warning(
            "dict-beside-section",
            f"a rope dict stands outside {section}, where the text model is: it is not read",
            f"move it into {section}",
        )


def _unknown_layers(shape: ModelShape) -> Iterator[dict[str, str]]:
    counted = any(shape.text.get(name) is not None for name in LAYERS)
    if isinstance(shape.kinds, Unknown) and counted:
        yield _warning(
            "unknown-layers",
            f"{shape.kinds.reason.partition(';')[0]}: which layers rotate or have a window, and "
            "their cache, is not known",
            "correct the key; until then this is the rotation of layers that see all tokens",
        )


def _two_rope_dicts(text: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    scaling, parameters = text.get("rope_scaling"), text.get("rope_parameters")
    if scaling and parameters and scaling != parameters:
        yield _warning(
            "two-rope-dicts",
            "rope_scaling and rope_parameters differ: rope_scaling is read, rope_parameters is not",
            "keep one of them",
        )


def _two_lengths(text: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    rope = text.get("rope_scaling") or text.get("rope_parameters")
    inside = rope.get(ORIGINAL) if isinstance(rope, Mapping) else None
    beside = text.get(ORIGINAL)
    if inside is not None and beside is not None and inside != beside:
        yield _warning(
            "two-lengths",
            f"{ORIGINAL} is {inside} inside the rope dict and {beside} beside it: "
            "the one beside it is read",
            "give both the same value, or drop one",
        )


def _mrope_sections(section: RopeSection) -> Iterator[dict[str, str]]:
    """Pairs by time, height and width: each pair belongs to one of them."""
    sections, pairs = section.numbers("mrope_section"), section.geometry().rotary_dim // 2
    if sections is not None and sum(sections) != pairs:
        yield _warning(
            "mrope-sections",
            f"mrope_section {list(map(int, sections))} sum to {sum(sections):.0f}, and {pairs} "
            "pairs rotate: engines refuse it, or leave pairs without a position",
            "write sections that sum to the pairs",
        )


def _position_precision(text: Mapping[str, Any], length: int) -> Iterator[dict[str, str]]:
    dtype = str(text.get("dtype") or text.get("torch_dtype") or "").removeprefix("torch.")
    bits = _SIGNIFICAND_BITS.get(dtype)
    if bits is None or length <= 2**bits + 1:
        return
    yield _warning(
        "position-precision",
        f"weights in {dtype}: positions computed in it are exact up to {2**bits}, and of "
        f"{length:,} positions {distinct_positions(length, bits):,} stay distinct",
        "compute positions and angles in float32, as transformers and Ropewalk do",
    )


def _xpos_overflow(text: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """zeta_0^-(N / 2 base) with zeta_0 = 0.4 / 1.4 leaves float16 where it passes 65,504."""
    bases = [text[key] for key in _XPOS_BASES if _is_positive(text.get(key))]
    if not bases and not any(text.get(key) is True for key in _XPOS_KEYS):
        return
    base = float(bases[0]) if bases else _XPOS_DEFAULT_BASE
    first = math.floor(2 * base * math.log(_LARGEST_FLOAT16) / math.log(1.4 / 0.4)) + 1
    yield _warning(
        "xpos-overflow",
        f"xPos with scale base {base:g}: its scales leave float16 from {first:,} tokens on, and "
        "the frequencies shown here do not hold them",
        "compute the scales in float32, or attend in blocks",
    )


def _is_positive(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < 1e12  # type: ignore[operator]
