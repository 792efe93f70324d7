"""Methods that scale a row's logits and leave the rotation alone."""

from dataclasses import replace
from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor
from ropewalk.frequencies.yarn_magnitude import yarn_mscale
from ropewalk.methods.method import Method, Promise
from ropewalk.methods.unscaled import none
from ropewalk.scores.log_n import FlooredLogN, LogN
from ropewalk.scores.temperature import Temperature


def log_n(
    geometry: RopeGeometry,
    *,
    base_length: int | None = None,
    form: Literal["floored", "plain"] = "floored",
) -> Encoding:
    """Logits grow as ln(m + 1) / ln(base_length).

    base_length  where the scale is 1; by default the trained length
    form         ``floored``: never below 1; ``plain``: for models trained with log-n

    Source: Su 2021 and 2023, kexue.fm/archives/8823 and 9708.
    """
    base = geometry.trained_length if base_length is None else base_length
    scale = FlooredLogN(base_length=base) if form == "floored" else LogN(base_length=base)
    return replace(none(geometry), score_mods=(scale,))


def temperature(geometry: RopeGeometry, *, tau: float) -> Encoding:
    """Every logit times ``tau``.

    Source: Peng et al. 2023, YaRN, arXiv:2309.00071, equation 21 (tau = 1 / t).
    """
    return replace(none(geometry), score_mods=(Temperature(tau=tau),))


def yarn_temperature(geometry: RopeGeometry, *, factor: float) -> Encoding:
    """YaRN's sharpening without its frequencies: every logit times (0.1 ln(factor) + 1)^2.

    Source: Peng et al. 2023, YaRN, arXiv:2309.00071, equation 22.
    Deviation: YaRN multiplies cos and sin, so the rotary channels alone; this acts on the whole
        logit. The two agree where every channel rotates.
    """
    check_factor(factor)
    return temperature(geometry, tau=yarn_mscale(factor) ** 2)


_SCALES = frozenset({Promise.ONE_MAP, Promise.SHIFT_INVARIANT, Promise.TRAINED_LENGTH_IS_ROPE})

LOG_N = Method(
    build=log_n,
    summary="logits grow with the logarithm of the context",
    promises=_SCALES,
)

TEMPERATURE = Method(
    build=temperature,
    summary="every logit times a constant",
    promises=_SCALES,
)

YARN_TEMPERATURE = Method(
    build=yarn_temperature,
    summary="YaRN's sharpening on its own",
    promises=_SCALES | {Promise.FACTOR_ONE_IS_ROPE},
)
