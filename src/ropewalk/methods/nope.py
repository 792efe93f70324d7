"""Attention without positions, as a method."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.method import Method, Promise, Reach
from ropewalk.methods.policies import static_encoding


def nope(geometry: RopeGeometry) -> Encoding:
    """No position encoding: the causal mask alone tells tokens apart.

    Source: Haviv et al. 2022, arXiv:2203.16634; Kazemnejad et al. 2023, arXiv:2305.19466.
    """
    return static_encoding(geometry, None)


NOPE = Method(
    build=nope,
    summary="no position encoding: the causal mask alone",
    promises=frozenset({Promise.ONE_MAP, Promise.ROTATION_ONLY, Promise.ROTATES_NOTHING}),
    reach=Reach(
        untuned=1,
        short_context="for models trained without positions",
        reason="1.3B: perplexity 2.12 at 1.4 times the trained length, 536 at 2.5 times",
        source="Kazemnejad et al. 2023, arXiv:2305.19466, section 5",
    ),
)
