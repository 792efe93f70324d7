"""Methods that scale a row's logits and leave the rotation alone."""

from dataclasses import replace
from typing import Literal

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.score_mods import ScoreMod
from ropewalk.frequencies.checks import check_factor
from ropewalk.frequencies.yarn_magnitude import yarn_mscale
from ropewalk.methods.method import Method, Promise
from ropewalk.methods.unscaled import none
from ropewalk.scores.llama4_scale import Llama4Scale
from ropewalk.scores.log_n import FlooredLogN, LogN
from ropewalk.scores.n_floor import NFloor
from ropewalk.scores.temperature import Temperature

SLOPE = 0.1
"""Of Llama 4 and Inkling."""


def log_n(
    geometry: RopeGeometry,
    *,
    base_length: int | None = None,
    form: Literal["floored", "plain", "above", "staircase"] = "floored",
    slope: float | None = None,
) -> Encoding:
    """Logits grow with the logarithm of the keys that a row sees.

    base_length  where the scale is 1; by default the trained length
    form         ``floored``: ln(m + 1) / ln(base_length), never below 1; ``plain``: the same for
                 models trained with it; ``above``: 1 + slope ln of how many times base_length,
                 as Inkling has it; ``staircase``: the same in whole steps, as Llama 4 has it
    slope        of above and staircase, 0.1 where it is not given

    Source: Su 2021 and 2023, kexue.fm/archives/8823 and 9708; transformers 5.23.0,
        modeling_inkling.py, modeling_llama4.py.
    """
    base = geometry.trained_length if base_length is None else base_length
    return replace(none(geometry), score_mods=(_growing(base, form, slope),))


def _growing(base: int, form: str, slope: float | None) -> ScoreMod:
    if form in ("floored", "plain"):
        if slope is not None:
            raise RopewalkError(
                f"slope={slope} beside form={form}, which has none: expected form=above or "
                "staircase"
            )
        return FlooredLogN(base_length=base) if form == "floored" else LogN(base_length=base)
    if not 2 <= base <= LARGEST_LENGTH:
        raise RopewalkError(f"base_length={base}: expected 2 to 2^40 tokens")
    steep = SLOPE if slope is None else slope
    if not 0 <= steep < float("inf"):
        raise RopewalkError(f"slope={steep}: expected 0 or more")
    if form == "above":
        return NFloor(floor=base, alpha=steep)
    return Llama4Scale(beta=steep, floor=base, counted=1)


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
