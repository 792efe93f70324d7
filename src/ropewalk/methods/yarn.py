"""YaRN and its relatives: NTK-by-parts frequencies, with or without a magnitude."""

from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.dynamic_yarn import DynamicYaRN
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.ramps import IndexRamp, Ramp, TurnsRamp
from ropewalk.frequencies.yarn_magnitude import yarn_attention_factor
from ropewalk.methods.method import ROTATION, Method, Promise, Reach
from ropewalk.methods.policies import Policy, PolicyWords, static_encoding

RampName = Literal["code", "paper"]


def ntk_by_parts(
    geometry: RopeGeometry,
    *,
    factor: float,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
    ramp: RampName = "code",
) -> Encoding:
    """Fast pairs left alone, slow pairs interpolated, no magnitude.

    beta_fast, beta_slow  cut-offs, in turns inside the trained length
    truncate              round the cut-offs to whole pairs (ramp=code)
    ramp                  ``code``: linear in the pair; ``paper``: linear in turns

    Source: Peng et al. 2023, YaRN, arXiv:2309.00071, definition 2.
    """
    return _by_parts(geometry, factor, _ramp(ramp, beta_fast, beta_slow, truncate=truncate), 1.0)


def yarn(
    geometry: RopeGeometry,
    *,
    factor: float,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
    ramp: RampName = "code",
    attention_factor: float | None = None,
    mscale: float | None = None,
    mscale_all_dim: float | None = None,
) -> Encoding:
    """NTK-by-parts with an attention factor, by default 0.1 ln(factor) + 1.

    attention_factor        replaces the computed one
    mscale, mscale_all_dim  both given: the ratio of their magnitudes; mscale alone is ignored

    Source: Peng et al. 2023, YaRN, arXiv:2309.00071, definition 3.
    """
    magnitude = yarn_attention_factor(
        factor, attention_factor=attention_factor, mscale=mscale, mscale_all_dim=mscale_all_dim
    )
    shape = _ramp(ramp, beta_fast, beta_slow, truncate=truncate)
    return _by_parts(geometry, factor, shape, magnitude)


def dynamic_yarn(
    geometry: RopeGeometry,
    *,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
    ramp: RampName = "code",
    policy: Policy = "per_query",
    step: int | None = None,
    new_tokens: int | None = None,
    length: int | None = None,
) -> Encoding:
    """YaRN with factor L / L0; unscaled up to the trained length.

    Source: Peng et al. 2023, YaRN, arXiv:2309.00071, section 3.3.
    """
    return Encoding(
        geometry=geometry,
        frequencies=DynamicYaRN(
            geometry=geometry,
            ramp=_ramp(ramp, beta_fast, beta_slow, truncate=truncate),
        ),
        length_policy=PolicyWords(
            policy=policy, step=step, new_tokens=new_tokens, length=length
        ).build(geometry.trained_length),
    )


def llama3(
    geometry: RopeGeometry,
    *,
    factor: float,
    low_freq_factor: float = 1.0,
    high_freq_factor: float = 4.0,
) -> Encoding:
    """Llama 3.1's scaling: NTK-by-parts, linear in turns between 1 and 4 by default.

    low_freq_factor, high_freq_factor  cut-offs, in turns inside the trained length

    Source: Llama 3.1's released code, its smoothing of frequencies (a wavelength below
        L0 / high_freq_factor is more than high_freq_factor turns).
    """
    if not high_freq_factor >= low_freq_factor:
        raise RopewalkError(
            f"high_freq_factor={high_freq_factor}, low_freq_factor={low_freq_factor}: "
            "expected high no less than low; exchange them"
        )
    ramp = TurnsRamp(beta_fast=high_freq_factor, beta_slow=low_freq_factor)
    return _by_parts(geometry, factor, ramp, 1.0)


def _by_parts(geometry: RopeGeometry, factor: float, ramp: Ramp, magnitude: float) -> Encoding:
    return static_encoding(
        geometry,
        NTKByParts(
            geometry=geometry,
            factor=factor,
            ramp=ramp,
            magnitude=magnitude,
        ),
    )


def _ramp(ramp: RampName, beta_fast: float, beta_slow: float, *, truncate: bool) -> Ramp:
    if ramp == "code":
        return IndexRamp(beta_fast=beta_fast, beta_slow=beta_slow, truncate=truncate)
    if not truncate:
        raise RopewalkError(
            "truncate=false with ramp=paper: that ramp has no pairs to round; drop truncate"
        )
    return TurnsRamp(beta_fast=beta_fast, beta_slow=beta_slow)


_BY_PARTS = ROTATION | {
    Promise.FACTOR_ONE_IS_ROPE,
    Promise.FASTEST_PAIR_KEPT,
    Promise.SLOWEST_PAIR_DIVIDED,
}

NTK_BY_PARTS = Method(
    build=ntk_by_parts,
    summary="fast pairs kept, slow pairs interpolated",
    promises=_BY_PARTS,
    reach=Reach(
        untuned=2,
        short_context="every length pays",
        reason="YaRN without its sharpening, which the paper finds better at every length",
        source="Peng et al. 2023, arXiv:2309.00071, sections 3.2 and 3.4",
    ),
)

YARN = Method(
    build=yarn,
    summary="NTK-by-parts with an attention factor",
    promises=_BY_PARTS,
    reach=Reach(
        untuned=4,
        tuned=32,
        training="400 steps at factor 16, 200 more at factor 32",
        short_context="every length pays: Qwen's cards warn of static YaRN on short texts",
        reason="Llama 2 7B to 128k; un-tuned 3.25 at 4 times on Proof-pile, but 32.6 at twice the "
        "length on PG19",
        source="Peng et al. 2023, arXiv:2309.00071, table 2; arXiv:2402.13753 (un-tuned)",
    ),
)

DYNAMIC_YARN = Method(
    build=dynamic_yarn,
    summary="YaRN whose factor follows the context",
    promises=ROTATION
    | {
        Promise.TRAINED_LENGTH_IS_ROPE,
        Promise.LENGTH_DEPENDENT,
        Promise.FASTEST_PAIR_KEPT,
    },
    reach=Reach(
        untuned=4,
        short_context="none: unscaled up to the trained length",
        reason="without fine-tuning slightly better than dynamic PI on one GovReport document; "
        "engines have it at one length alone, as YaRN",
        source="Peng et al. 2023, arXiv:2309.00071, section 3.3 and figure 5",
    ),
)

LLAMA3 = Method(
    build=llama3,
    summary="Llama 3.1's blend of kept and slowed pairs",
    promises=_BY_PARTS,
    reach=Reach(
        untuned=1,
        tuned=16,
        training="continued pre-training in six stages, 800 billion tokens",
        short_context="every length pays without that training",
        reason="Llama 3.1 from 8k to 128k",
        source="Grattafiori et al. 2024, arXiv:2407.21783, section 3.4.2",
    ),
)
