"""ReRoPE and its leaky relatives as methods."""

from dataclasses import replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.method import MAP, Method, Promise, Reach
from ropewalk.methods.served_length import served_length
from ropewalk.methods.unscaled import none
from ropewalk.positions.leaky_rerope import LeakyReRoPE
from ropewalk.positions.rerope import ReRoPE


def rerope(geometry: RopeGeometry, *, window: int | None = None) -> Encoding:
    """Distances are true inside a window and constant beyond it.

    window  w, by default half the trained length; from L0 on, distances leave what training
            showed

    Source: Su 2023, kexue.fm/archives/9708.
    """
    window = max(1, geometry.trained_length // 2) if window is None else window
    return replace(none(geometry), position_map=ReRoPE(window=window))


def leaky_rerope(
    geometry: RopeGeometry,
    *,
    window: int | None = None,
    slope: float | None = None,
    factor: float | None = None,
) -> Encoding:
    """Distances grow ``slope`` times slower beyond a window.

    window  w, by default a quarter of the trained length
    slope   k, at least 1
    factor  instead of ``slope``: the smallest slope with which a context of factor * L0 tokens
            stays inside the trained length

    Source: Su 2023, kexue.fm/archives/9708.
    """
    window = _quarter(geometry) if window is None else window
    if slope is None:
        slope = _slope_for(geometry, window, served_length(geometry, factor, "leaky_rerope:slope"))
    elif factor is not None:
        raise RopewalkError(f"slope={slope}, factor={factor}: each sets the slope; drop one")
    if not slope >= 1:
        raise RopewalkError(
            f"slope={slope}: expected at least 1; for training with stretched distances use "
            "inverse_leaky_rerope"
        )
    return replace(none(geometry), position_map=LeakyReRoPE(window=window, slope=slope))


def inverse_leaky_rerope(
    geometry: RopeGeometry, *, window: int | None = None, slope: float = 1 / 16
) -> Encoding:
    """The stretched distances that a model is trained with, to be run with plain RoPE after.

    window  w, by default a quarter of the trained length
    slope   k, above 0 and below 1: training at L0 shows distances up to w + (L0 - 1 - w) / k,
            and as far does ``none`` reach afterwards

    Source: Su 2023, kexue.fm/archives/9728.
    """
    if not 0 < slope < 1:
        raise RopewalkError(f"slope={slope}: expected above 0 and below 1, like 0.0625")
    window = _quarter(geometry) if window is None else window
    return replace(none(geometry), position_map=LeakyReRoPE(window=window, slope=slope))


def _quarter(geometry: RopeGeometry) -> int:
    return max(1, geometry.trained_length // 4)


def _slope_for(geometry: RopeGeometry, window: int, length: int) -> float:
    """The smallest slope of at least 1 with window + (length - 1 - window) / slope <= L0 - 1."""
    room = geometry.trained_length - 1 - window
    if room < 1:
        raise RopewalkError(
            f"window={window}: expected at most {geometry.trained_length - 2}, so that there is "
            "room for far distances below the trained length; lower it or state the slope"
        )
    return max(1.0, (length - 1 - window) / room)


REROPE = Method(
    build=rerope,
    summary="distances constant beyond a window",
    promises=MAP | {Promise.SHIFT_INVARIANT, Promise.ROTATION_ONLY, Promise.DISTANCES_IN_RANGE},
    reach=Reach(
        untuned=8,
        short_context="small: distances beyond the window are all shown as the window",
        reason="trained at 512 and run at 4,096; Llama 2 13B from 4k to 16k with falling loss",
        source="Su 2023, kexue.fm/archives/9708; bojone/rerope",
    ),
)

LEAKY_REROPE = Method(
    build=leaky_rerope,
    summary="distances grow slower beyond a window",
    promises=REROPE.promises | {Promise.FACTOR_ONE_IS_ROPE},
    replaces_factor="slope",
    reach=Reach(
        untuned=8,
        short_context="small, as for rerope",
        reason="slightly better than rerope where the slope exceeds the extension",
        source="Su 2023, kexue.fm/archives/9708",
    ),
)

INVERSE_LEAKY_REROPE = Method(
    build=inverse_leaky_rerope,
    summary="distances stretched in training, for plain RoPE later",
    promises=MAP | {Promise.SHIFT_INVARIANT, Promise.ROTATION_ONLY},
)
