"""vLLM 0.33.0: which rotary class a config gets, and what its table holds.

Source: vLLM 0.33.0, model_executor/layers/rotary_embedding (get_rope and the classes),
    models/registry.py, and models/deepseek_v2.py for latent attention.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import Rotation
from ropewalk.engines.backend import falls_back
from ropewalk.engines.magnitudes import MSCALES, latent_magnitude, served_longrope_magnitudes
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.rows import Llama3Row, LongRopeRow, Rule, UnscaledRow, served_rows, stretched
from ropewalk.engines.served import (
    LATENT_YARN,
    SERVED_LINEAR,
    SERVED_PROPORTIONAL,
    SERVED_YARN,
    check_sections,
    half_pairs,
)
from ropewalk.engines.stated import Stated, required
from ropewalk.engines.transformers.config_class import loaded_type
from ropewalk.engines.transformers.rules import hf_rotation
from ropewalk.engines.vllm.architectures import NO_LONGER, OWN_FILE, THROUGH_TRANSFORMERS
from ropewalk.engines.vllm.dynamic import dynamic
from ropewalk.engines.vllm.lengths import max_position, positions_factor, served_length
from ropewalk.engines.vllm.ntk import ntk

_ALPHA = required(
    "alpha", "TypeError: unsupported operand type(s) for ** or pow(): 'NoneType' and 'float'"
)
RELEASE = "vLLM 0.33.0"


def through_transformers(reading: Reading) -> bool:
    """Whether the architecture runs in the Transformers backend.

    EngineRaises where neither it nor a file of vLLM loads the model.
    """
    name = reading.architecture
    if (last := NO_LONGER.get(name)) is not None:
        raise EngineRaises(
            f"ValueError: Model architecture {name} was supported in vLLM until v{last}, and is "
            "not supported anymore."
        )
    return name in THROUGH_TRANSFORMERS or falls_back(reading, OWN_FILE, RELEASE)


def vllm_type(reading: Reading) -> str:
    """The rope type after loading and patch_legacy_rope_type; EngineRaises on a conflict."""
    through_transformers(reading)  # raises where nothing loads the model
    loaded, legacy = loaded_type(reading), reading.rope.get("type")
    stated = reading.rope.get("rope_type")
    aliased = (legacy, stated) in (("su", "longrope"), ("mrope", "default"))
    if stated is not None and legacy is not None and stated != legacy and not aliased:
        raise EngineRaises(
            f"ValueError: Found conflicts between 'rope_type={stated}' (modern field) and "
            f"'type={legacy}' (legacy field). You should only specify one of them."
        )
    if loaded == "mrope" and "mrope_section" not in reading.rope:
        raise EngineRaises(
            "ValueError: Legacy rope_type 'mrope' requires 'mrope_section' in rope_parameters"
        )
    return {"su": "longrope", "mrope": "default"}.get(loaded, loaded)


def vllm_rotation(reading: Reading, name: str) -> Rotation:
    """The rotation of a config of the loaded type ``name``, with the rows of its table."""
    if through_transformers(reading):
        rotation = hf_rotation(replace(reading, served_length=served_length(reading)))
        note = f"{reading.architecture} runs through the Transformers backend, with its bugs"
        choice = rotation.choice or "no table"
        return replace(rotation, choice=choice, notes=(*rotation.notes, note))
    if name not in _RULES and not reading.latent:
        raise EngineRaises(f"ValueError: Unknown RoPE scaling type {name}")
    check_sections(reading, name)
    sections = reading.section.numbers("mrope_section")
    if sections is not None and sum(sections) != reading.geometry().rotary_dim // 2:
        raise EngineRaises("AssertionError: sum(mrope_section) == rotary_dim // 2 (mrope.py)")
    rotation = (_latent if reading.latent and name != "default" else _RULES[name])(reading)
    rows = rotation.table_rows or served_rows(rotation.frequencies, max_position(reading))
    return replace(rotation, table_rows=rows)


def _default(reading: Reading) -> Rotation:
    rows = max_position(reading) * positions_factor(reading)
    return replace(UnscaledRow()(reading), table_rows=rows)


def _dynamic(reading: Reading) -> Rotation:
    if "alpha" in reading.rope:
        return stretched(reading, _ALPHA(reading))
    return dynamic(reading, max_position(reading))


def _longrope_magnitudes(reading: Reading) -> tuple[Stated, Stated]:
    return served_longrope_magnitudes(reading, max_position(reading))


def _latent(reading: Reading) -> Rotation:
    if reading.rope.get(ORIGINAL) is None and not reading.has_original:
        raise EngineRaises(f"KeyError: '{ORIGINAL}'")
    return _LATENT_YARN(reading)


def _latent_magnitude(reading: Reading, factor: float) -> Stated:
    """No mscale where the config has compress_ratios."""
    if reading.text.get("compress_ratios"):
        return Stated(1.0, MSCALES)
    return latent_magnitude(reading, factor)


_LATENT_YARN = replace(LATENT_YARN, magnitude=_latent_magnitude)
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "default": _default,
        "linear": SERVED_LINEAR,
        "ntk": ntk,
        "dynamic": _dynamic,
        # With video rows the ramp takes the longer table's length for L (mrope.py).
        "yarn": replace(
            SERVED_YARN, trained_length=lambda reading: reading.original * positions_factor(reading)
        ),
        "deepseek_yarn": _latent,
        "deepseek_llama_scaling": _latent,
        "longrope": half_pairs(
            LongRopeRow(
                magnitudes=_longrope_magnitudes,
                choice="the long list for every request where max_model_len exceeds {original}",
            )
        ),
        "llama3": Llama3Row.requiring(
            "TypeError: unsupported operand type(s) for /: 'int' and 'NoneType'"
        ),
        "proportional": SERVED_PROPORTIONAL,
    }
)
