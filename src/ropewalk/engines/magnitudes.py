"""Attention factors and MLA's softmax multiplier, as most engines compute them."""

from ropewalk.core.errors import RopewalkError
from ropewalk.engines.reading import Reading
from ropewalk.frequencies.longrope import longrope_attention_factor
from ropewalk.frequencies.yarn_magnitude import yarn_attention_factor, yarn_mscale


def yarn_magnitude(reading: Reading, factor: float) -> float:
    """attention_factor if stated, else the mscale pair where neither is 0, else m(s, 1).

    Source: transformers 5.23.0 modeling_rope_utils.py; vLLM 0.33.0 yarn_scaling_rope.py (since
        pull request 56446).
    """
    return yarn_attention_factor(
        factor,
        attention_factor=reading.number("attention_factor"),
        mscale=reading.number("mscale"),
        mscale_all_dim=reading.number("mscale_all_dim"),
    )


def mscale_ratio(factor: float, mscale: float, mscale_all_dim: float) -> float:
    """m(s, mscale) / m(s, mscale_all_dim); RopewalkError where the divisor is not above 0."""
    divisor = yarn_mscale(factor, mscale_all_dim)
    if not divisor > 0:
        raise RopewalkError(f"mscale_all_dim={mscale_all_dim}: expected a number above 0")
    return yarn_mscale(factor, mscale) / divisor


def longrope_magnitude(reading: Reading, factor: float) -> float:
    """sqrt(1 + ln s / ln L)."""
    return longrope_attention_factor(factor, reading.original)


def latent_multiplier(reading: Reading) -> float:
    """MLA: m(factor, mscale_all_dim)^2, 1 where either is missing or 0."""
    all_dim, factor = reading.number("mscale_all_dim"), reading.number("factor")
    return yarn_mscale(factor or 1.0, all_dim) ** 2 if all_dim else 1.0
