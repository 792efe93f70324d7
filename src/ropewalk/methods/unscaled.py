"""Methods that leave plain RoPE as it is or only exchange its base."""

from dataclasses import replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.unscaled import Unscaled
from ropewalk.methods.method import ROTATION, Method, Promise, Reach
from ropewalk.methods.policies import static_encoding


def none(geometry: RopeGeometry) -> Encoding:
    """Unscaled RoPE at any length: direct extrapolation.

    Source: Su et al. 2021, RoFormer, arXiv:2104.09864.
    """
    return static_encoding(geometry, _rope(geometry))


def abf(geometry: RopeGeometry, *, rope_theta: float) -> Encoding:
    """Adjusted base frequency: RoPE with another base, which a model is fine-tuned to.

    rope_theta  the new base

    Source: Xiong et al. 2023, Effective Long-Context Scaling, arXiv:2309.16039, section 4.1.
    """
    return static_encoding(geometry, _rope(replace(geometry, rope_theta=rope_theta)))


def _rope(geometry: RopeGeometry) -> Unscaled:
    return Unscaled(geometry=geometry)


NONE = Method(
    build=none,
    summary="unscaled RoPE: direct extrapolation",
    promises=ROTATION | {Promise.TRAINED_LENGTH_IS_ROPE, Promise.FASTEST_PAIR_KEPT},
    reach=Reach(
        untuned=1,
        short_context="none",
        reason="direct extrapolation: loss leaves within 1.1 to 1.4 times the trained length",
        source="Press et al. 2021, arXiv:2108.12409, table 2 (rotary)",
    ),
)

ABF = Method(
    build=abf,
    summary="another base, for a model fine-tuned to it",
    promises=ROTATION | {Promise.FASTEST_PAIR_KEPT},
    reach=Reach(
        untuned=1,
        tuned=8,
        training="continued pre-training, 400 billion tokens",
        short_context="every length pays without that training",
        reason="Llama 2 from 4k to 32k; the base is the smallest that was found for this length",
        source="Xiong et al. 2023, arXiv:2309.16039; Men et al. 2024, arXiv:2405.14591, figure 1",
    ),
)
