"""Attention factor and MLA's softmax multiplier in the keys of a rope dict."""

import math
from typing import Any

from ropewalk.engines.export.request import ExportRequest
from ropewalk.frequencies.yarn_magnitude import yarn_mscale


def mscale_for(magnitude: float, factor: float) -> float:
    """The k of m(s, k) = magnitude; 0 where s or the magnitude is 1."""
    if factor <= 1 or magnitude == 1:
        return 0.0
    return (magnitude - 1) / (0.1 * math.log(factor))


def latent_keys(request: ExportRequest) -> dict[str, Any]:
    """mscale and mscale_all_dim of latent attention, as DeepSeek's released code reads them.

        m(s, mscale_all_dim)^2 = softmax multiplier,  m(s, mscale) / m(s, mscale_all_dim) = A

    Empty for other attention, and where both magnitudes are 1.
    """
    factor, multiplier = request.block.factor, request.softmax_multiplier
    if not request.section.latent_attention or factor <= 1:
        return {}
    root = math.sqrt(multiplier)
    mscale = mscale_for(request.block.attention_factor * root, factor)
    return {"mscale": mscale, "mscale_all_dim": mscale_for(root, factor)}


def default_magnitude(request: ExportRequest) -> bool:
    """Whether the attention factor is what YaRN computes of the factor."""
    return math.isclose(
        request.block.attention_factor, yarn_mscale(request.block.factor), rel_tol=1e-15
    )
