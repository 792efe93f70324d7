"""SGLang 0.5.23: which rotary class a config gets, and what its table holds.

Source: SGLang 0.5.23, srt/layers/rotary_embedding: factory.py (get_rope), yarn.py, mrope.py,
    rope_variant.py, base.py; srt/models/deepseek_v2.py for latent attention.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from torch import Tensor

from ropewalk.configs.numbers import is_number
from ropewalk.core.geometry import RopeGeometry
from ropewalk.engines.answer import Rotation
from ropewalk.engines.backend import falls_back
from ropewalk.engines.magnitudes import (
    MSCALES,
    latent_magnitude,
    mscale_ratio,
    served_longrope_magnitudes,
)
from ropewalk.engines.ramps import CutOffs, released_ramp
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.rows import Llama3Row, LongRopeRow, Rule, UnscaledRow, served_rows, stretched
from ropewalk.engines.served import (
    LATENT_YARN,
    SERVED_LINEAR,
    SERVED_PROPORTIONAL,
    SERVED_YARN,
    check_sections,
    constant_dynamic,
    half_pairs,
)
from ropewalk.engines.sglang.architectures import OWN_FILE
from ropewalk.engines.stated import Stated, optional, required
from ropewalk.engines.transformers.rules import hf_rotation
from ropewalk.frequencies.ramps import Ramp
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

TRANSLATES_ATTENTION_FACTOR = frozenset({"laguna"})
"""Model types whose own code turns attention_factor into attn_factor (configs/laguna.py)."""
_NO_FACTOR = "TypeError: unsupported operand type(s) for *: 'int' and 'NoneType'"
_ATTN_FACTOR = optional("attn_factor", 1.0)


def sglang_rotation(reading: Reading, name: str) -> Rotation:
    """The rotation of a config of the loaded type ``name``, with the rows of its table."""
    if falls_back(reading, OWN_FILE, "SGLang 0.5.23"):
        rotation = hf_rotation(reading)
        note = f"{reading.architecture} has no file here and runs as transformers' class"
        return replace(
            rotation, choice=rotation.choice or "no table", notes=(*rotation.notes, note)
        )
    reading = _of_layer_thetas(reading)
    if reading.model_type == "olmo3":
        raise EngineRaises("TypeError: unhashable type: 'dict'")
    if reading.latent and name != "default":
        name = "deepseek_yarn"
    if name not in _RULES:
        raise EngineRaises(f"ValueError: Unknown RoPE scaling type {name}")
    check_sections(reading, name)
    rotation = _RULES[name](reading)
    rows = rotation.table_rows or served_rows(rotation.frequencies, reading.longest)
    return replace(rotation, table_rows=rows)


def _of_layer_thetas(reading: Reading) -> Reading:
    """Granite SWA and Muse-Spark: the base of a layer is that of ``layer_rope_theta`` alone.

    Source: SGLang 0.5.23 models/granite.py, models/muse_spark.py.
    """
    listed = reading.text.get("layer_rope_theta")
    bases = [base for base in listed if base] if isinstance(listed, list | tuple) else []
    if not bases or not is_number(bases[0]):
        return reading
    return replace(reading, section=replace(reading.section, rope_theta=float(bases[0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRamp(Ramp):
    """A ramp of which extrapolation_factor keeps a share: the rest is fully interpolated.

    share_i' = 1 - extrapolation_factor * (1 - share_i)
    """

    inner: Ramp
    extrapolation_factor: float

    def interpolated(self, geometry: RopeGeometry) -> Tensor:
        share = self.inner.interpolated(geometry)
        return 1 - self.extrapolation_factor * (1 - share)


def _ramp(reading: Reading, cut_offs: CutOffs) -> Ramp:
    kept = optional("extrapolation_factor", 1.0)(reading).value
    ramp = released_ramp(reading, cut_offs)
    return ramp if kept == 1 else SharedRamp(inner=ramp, extrapolation_factor=kept)


def _dynamic(reading: Reading) -> Rotation:
    """The same base at every length; alpha as in Hunyuan."""
    if "alpha" in reading.rope:
        return stretched(reading, required("alpha", _NO_FACTOR)(reading))
    return constant_dynamic(reading, reading.longest, required("factor", _NO_FACTOR)(reading))


def _magnitude(reading: Reading, factor: float) -> Stated:
    """attn_factor multiplies; an mscale of 0 counts as given; attention_factor is read by the
    few config classes that translate it (TRANSLATES_ATTENTION_FACTOR), and is final there.

    Where the config has mrope sections the class takes no mscale at all (mrope.py).
    """
    mscale, all_dim = map(reading.number, MSCALES)
    sections = "mrope_section" in reading.rope
    for key in MSCALES:
        if sections and key in reading.rope:
            raise EngineRaises(
                "TypeError: YaRNScalingMRotaryEmbedding.__init__() got an unexpected keyword "
                f"argument '{key}'"
            )
    paired = mscale is not None and all_dim is not None
    computed = mscale_ratio(factor, mscale or 0, all_dim or 0) if paired else yarn_mscale(factor)
    value = computed * _ATTN_FACTOR(reading).value
    keys = ("attn_factor", "extrapolation_factor")
    if reading.model_type in TRANSLATES_ATTENTION_FACTOR:
        return Stated(
            optional("attention_factor", value)(reading).value, (*keys, "attention_factor")
        )
    return Stated(value, keys if sections else (*keys, *MSCALES))


def _latent_magnitude(reading: Reading, factor: float) -> Stated:
    keys = ("attn_factor", "extrapolation_factor", "apply_yarn_scaling", "apply_scale")
    value = latent_magnitude(reading, factor).value * _ATTN_FACTOR(reading).value
    return Stated(value, (*keys, *MSCALES))


def _longrope_magnitudes(reading: Reading) -> tuple[Stated, Stated]:
    return served_longrope_magnitudes(reading, reading.longest)


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "default": UnscaledRow(),
        "linear": SERVED_LINEAR,
        "dynamic": _dynamic,
        "yarn": replace(SERVED_YARN, ramp=_ramp, magnitude=_magnitude),
        "deepseek_yarn": replace(LATENT_YARN, ramp=_ramp, magnitude=_latent_magnitude),
        "longrope": half_pairs(
            LongRopeRow(
                magnitudes=_longrope_magnitudes,
                choice="the long list for a whole batch as soon as one position exceeds {original}",
                notes=("position {original} alone is read from row 0 of the long list",),
            )
        ),
        "llama3": Llama3Row.requiring(_NO_FACTOR),
        "proportional": SERVED_PROPORTIONAL,
    }
)
