"""Attention factors and MLA's softmax multiplier, as most engines compute them.

m(s, k) = 0.1 k ln s + 1 for s > 1, else 1
"""

from ropewalk.core.errors import RopewalkError
from ropewalk.engines.reading import Reading
from ropewalk.engines.stated import Stated, factor_or_ratio
from ropewalk.frequencies.longrope import longrope_attention_factor
from ropewalk.frequencies.yarn_magnitude import yarn_attention_factor, yarn_mscale

MSCALES = ("mscale", "mscale_all_dim")


def yarn_magnitude(reading: Reading, factor: float) -> Stated:
    """attention_factor if stated, else the mscale pair where neither is 0, else m(s, 1).

    Source: transformers 5.23.0 modeling_rope_utils.py; vLLM 0.33.0 yarn_scaling_rope.py (since
        pull request 56446).
    """
    mscale, all_dim = map(reading.number, MSCALES)
    stated = reading.number("attention_factor")
    value = yarn_attention_factor(
        factor, attention_factor=stated, mscale=mscale, mscale_all_dim=all_dim
    )
    return Stated(value, ("attention_factor", *MSCALES))


def latent_magnitude(reading: Reading, factor: float) -> Stated:
    """Latent attention: m(s, mscale) / m(s, mscale_all_dim), with 1 and 0 where they are absent.

    Source: vLLM 0.33.0 deepseek_scaling_rope.py, SGLang 0.5.23 rope_variant.py
        (DeepseekScalingRotaryEmbedding).
    """
    mscale, all_dim = map(reading.number, MSCALES)
    return Stated(mscale_ratio(factor, 1.0 if mscale is None else mscale, all_dim or 0.0), MSCALES)


def mscale_ratio(factor: float, mscale: float, mscale_all_dim: float) -> float:
    """m(s, mscale) / m(s, mscale_all_dim); RopewalkError where the divisor is not above 0."""
    divisor = yarn_mscale(factor, mscale_all_dim)
    if not divisor > 0:
        raise RopewalkError(f"mscale_all_dim={mscale_all_dim}: expected a number above 0")
    return yarn_mscale(factor, mscale) / divisor


def longrope_magnitudes(reading: Reading) -> tuple[Stated, Stated]:
    """Of the short and the long list: attention_factor if stated, else sqrt(1 + ln s / ln L) with
    s = factor, or M / L where there is none."""
    factor, stated = factor_or_ratio(reading), reading.number("attention_factor")
    computed = longrope_attention_factor(factor.value, reading.original)
    both = Stated(computed if stated is None else stated, (*factor.keys, "attention_factor"))
    return both, both


def served_longrope_magnitudes(reading: Reading, longest: int) -> tuple[Stated, Stated]:
    """short_mscale and long_mscale, each sqrt(1 + ln(M / L) / ln L) where it is absent;
    ``factor`` and ``attention_factor`` are not read.

    Source: vLLM 0.33.0 phi3_long_rope_scaled_rope.py, SGLang 0.5.23 rope_variant.py.
    """
    computed = longrope_attention_factor(longest / reading.original, reading.original)
    short, long = (
        Stated(computed if (value := reading.number(key)) is None else value, (key,))
        for key in ("short_mscale", "long_mscale")
    )
    return short, long


def latent_multiplier(reading: Reading) -> float:
    """MLA: m(factor, mscale_all_dim)^2, 1 where either is missing or 0."""
    all_dim, factor = reading.number("mscale_all_dim"), reading.number("factor")
    return yarn_mscale(factor or 1.0, all_dim) ** 2 if all_dim else 1.0
