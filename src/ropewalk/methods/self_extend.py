"""Self-Extend as a method."""

from dataclasses import replace
from itertools import count
from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.method import MAP, Method, Promise, Reach
from ropewalk.methods.served_length import served_length
from ropewalk.methods.unscaled import none
from ropewalk.positions.self_extend import LongLMSelfExtend, SelfExtend


def self_extend(
    geometry: RopeGeometry,
    *,
    group_size: int | None = None,
    window: int | None = None,
    rule: Literal["paper", "longlm"] = "paper",
    factor: float | None = None,
) -> Encoding:
    """True distances inside a window, distances between groups of tokens beyond it.

    group_size  G, tokens that share one far position
    window      W, by default a quarter of the trained length
    rule        ``paper``: the shift in whole tokens; ``longlm``: as released code prefills
    factor      instead of ``group_size``: the smallest group with which a context of
                factor * L0 tokens stays inside the trained length

    Source: Jin et al. 2024, Self-Extend, arXiv:2401.01325.
    """
    build = SelfExtend if rule == "paper" else LongLMSelfExtend
    window = max(1, geometry.trained_length // 4) if window is None else window
    if group_size is None:
        length = served_length(geometry, factor, "self_extend:group_size")
        group_size = _group_for(build, window, length, geometry.trained_length)
    elif factor is not None:
        raise RopewalkError(
            f"group_size={group_size}, factor={factor}: each sets the group; drop one"
        )
    return replace(none(geometry), position_map=build(group_size=group_size, window=window))


def _group_for(build: type[SelfExtend], window: int, length: int, trained_length: int) -> int:
    """The smallest group size whose map reaches ``length``."""
    room = trained_length - window
    if room < 1:
        raise RopewalkError(
            f"window={window}: expected less than the trained length, {trained_length}; lower it "
            "or state group_size"
        )
    # No map reaches further than (room + 1) * group_size + window.
    fewest = max(1, (length - window) // (room + 1))
    reaches = ((g, build(group_size=g, window=window).reach(trained_length)) for g in count(fewest))
    return next(g for g, reach in reaches if reach is not None and reach >= length)


SELF_EXTEND = Method(
    build=self_extend,
    summary="distances between groups of tokens beyond a window",
    promises=MAP | {Promise.ROTATION_ONLY, Promise.FACTOR_ONE_IS_ROPE, Promise.DISTANCES_IN_RANGE},
    replaces_factor="group_size",
    reach=Reach(
        untuned=8,
        short_context="small: far distances are grouped inside the trained length too",
        reason="works while window + (N - window) / group stays below two thirds of L0",
        source="Jin et al. 2024, arXiv:2401.01325, and the rule of its released code",
    ),
)
