"""YaRN's magnitude: how much longer rotated vectors are made, so that attention stays sharp.

    m(s, k) = 0.1 k ln s + 1   for s > 1, else 1

The attention factor (on cos and sin, so its square multiplies the rotary part of a logit) is

    attention_factor                            where it is given: it replaces everything
    m(s, mscale) / m(s, mscale_all_dim)         where both are given and not 0
    m(s, 1)                                     else; mscale alone changes nothing

Source: Peng et al. 2023, YaRN, arXiv:2309.00071, equation 22 (sqrt(1/t) = 0.1 ln s + 1);
    the mscale pair from DeepSeek-V2's released code.
Deviation: the paper knows no mscale.
"""

import math

from ropewalk.frequencies.checks import check_positive


def yarn_mscale(factor: float, mscale: float = 1.0) -> float:
    """m(s, k) = 0.1 k ln s + 1 for s > 1, else 1."""
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def yarn_attention_factor(
    factor: float,
    *,
    attention_factor: float | None = None,
    mscale: float | None = None,
    mscale_all_dim: float | None = None,
) -> float:
    """The attention factor of YaRN at ``factor``; an mscale of None or 0 is absent.

    Raises RopewalkError for a negative mscale.
    """
    if attention_factor is not None:
        return attention_factor
    if mscale and mscale_all_dim:
        check_positive(mscale, "mscale")
        check_positive(mscale_all_dim, "mscale_all_dim")
        return yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all_dim)
    return yarn_mscale(factor)
