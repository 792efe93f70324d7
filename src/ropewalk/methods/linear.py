"""Linear interpolation (PI) as a method."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.linear import Linear as LinearFrequencies
from ropewalk.methods.method import ROTATION, Method, Promise, Reach
from ropewalk.methods.policies import static_encoding


def linear(geometry: RopeGeometry, *, factor: float) -> Encoding:
    """Every pair rotates ``factor`` times slower.

    Source: Chen et al. 2023, Position Interpolation, arXiv:2306.15595.
    """
    return static_encoding(
        geometry,
        LinearFrequencies(geometry=geometry, factor=factor),
    )


LINEAR = Method(
    build=linear,
    summary="position interpolation: every pair rotates slower",
    promises=ROTATION | {Promise.FACTOR_ONE_IS_ROPE, Promise.SLOWEST_PAIR_DIVIDED},
    reach=Reach(
        untuned=1,
        tuned=16,
        training="1,000 steps at the new length",
        short_context="every length pays: neighbours are squeezed together",
        reason="LLaMA from 2k to 32k after fine-tuning; un-tuned PG19 10.65 at twice the length, "
        "20.49 at 4 times",
        source="Chen et al. 2023, arXiv:2306.15595; arXiv:2402.13753 (un-tuned)",
    ),
)
