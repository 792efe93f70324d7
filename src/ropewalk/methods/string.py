"""STRING as a method."""

from dataclasses import replace
from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.yarn_magnitude import yarn_mscale
from ropewalk.methods.method import MAP, Method, Promise
from ropewalk.methods.unscaled import none
from ropewalk.positions.string import ShiftedRoPE
from ropewalk.scores.temperature import Temperature

PAPER_WINDOW = 128


def string(
    geometry: RopeGeometry,
    *,
    shift: int | None = None,
    window: int | None = None,
    rule: Literal["paper", "code"] = "paper",
) -> Encoding:
    """Far distances are shifted back to where training saw them often.

    shift   S, by default a third of the trained length
    window  W, at most S; by default 128 tokens, or a quarter of S where that is less
    rule    ``paper``: the map alone; ``code``: with an attention factor of 0.1 ln 2 + 1

    Source: An et al. 2024, Why Does the Effective Context Length of LLMs Fall Short?,
        arXiv:2410.18745.
    Deviation: released code multiplies cos and sin by 0.1 ln 2 + 1, so logits by 1.143; the paper
        has no such factor. ``rule=code`` multiplies the whole logit by it.
    """
    shift = max(1, geometry.trained_length // 3) if shift is None else shift
    window = max(1, min(PAPER_WINDOW, shift // 4)) if window is None else window
    sharper = (Temperature(tau=yarn_mscale(2.0) ** 2),) if rule == "code" else ()
    return replace(
        none(geometry),
        position_map=ShiftedRoPE(shift=shift, window=window),
        score_mods=sharper,
    )


STRING = Method(
    build=string,
    summary="far distances shifted to well-trained ones",
    promises=MAP | {Promise.SHIFT_INVARIANT, Promise.DISTANCES_IN_RANGE},
)
