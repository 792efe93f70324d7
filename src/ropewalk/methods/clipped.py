"""Clipped RoPE as a method: alone, or over the part that sets the frequencies."""

from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.clipped import HardClip, SoftClip, pairs_without_a_turn
from ropewalk.frequencies.unscaled import Unscaled
from ropewalk.methods.method import ROTATION, Method, Promise, Reach
from ropewalk.methods.policies import static_encoding


def clipped(
    geometry: RopeGeometry,
    *,
    clip_low_n: int | None = None,
    form: Literal["soft", "hard"] = "soft",
) -> Encoding:
    """The slow pairs that no training turned once, brought to a stop.

    clip_low_n  how many of the slowest; by default all that complete no turn inside the trained
                length
    form        ``soft``: a cosine taper; ``hard``: all of them stand still

    Source: Li et al. 2026, CoPE, arXiv:2602.05258; hrlics/CoPE.
    """
    count = pairs_without_a_turn(geometry) if clip_low_n is None else clip_low_n
    build = SoftClip if form == "soft" else HardClip
    scheduled = Unscaled(geometry=geometry)
    return static_encoding(geometry, build(geometry=geometry, scheduled=scheduled, count=count))


CLIPPED = Method(
    build=clipped,
    summary="slow pairs that never turned once brought to a stop",
    promises=ROTATION | {Promise.FASTEST_PAIR_KEPT},
    reach=Reach(
        untuned=1,
        tuned=8,
        training="continued pre-training at the length with a base of 10^7, then instructions",
        short_context="none reported after that training",
        reason="Llama 3 8B from 8k to 64k, measured up to 256k; nothing was reported untrained",
        source="Li et al. 2026, arXiv:2602.05258; hrlics/CoPE",
    ),
)
