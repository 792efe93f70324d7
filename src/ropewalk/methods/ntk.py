"""The NTK-aware methods: a larger base, once for all or growing with the context."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.frequencies.ntk_aware import NTKAware
from ropewalk.methods.method import ROTATION, Method, Promise, Reach
from ropewalk.methods.policies import Policy, PolicyWords, static_encoding


def ntk_aware(geometry: RopeGeometry, *, factor: float) -> Encoding:
    """The base times factor^(d / (d - 2)).

    Source: bloc97 2023 (r/LocalLLaMA); YaRN, arXiv:2309.00071, definition 1.
    """
    return static_encoding(
        geometry,
        NTKAware(geometry=geometry, factor=factor),
    )


def dynamic_ntk(
    geometry: RopeGeometry,
    *,
    factor: float = 2.0,
    policy: Policy = "per_query",
    step: int | None = None,
    new_tokens: int | None = None,
    length: int | None = None,
) -> Encoding:
    """The NTK-aware base of the context so far; unscaled up to the trained length.

    factor                            how fast the base grows (alpha)
    policy, step, new_tokens, length  which context length a row and its keys see

    Source: emozilla 2023 (r/LocalLLaMA); NormXU 2023, Consistent-DynamicNTKRoPE.
    """
    return Encoding(
        geometry=geometry,
        frequencies=DynamicNTK(
            geometry=geometry,
            factor=factor,
        ),
        length_policy=PolicyWords(
            policy=policy, step=step, new_tokens=new_tokens, length=length
        ).build(geometry.trained_length),
    )


NTK_AWARE = Method(
    build=ntk_aware,
    summary="a larger base, so that slow pairs slow down",
    promises=ROTATION
    | {
        Promise.FACTOR_ONE_IS_ROPE,
        Promise.FASTEST_PAIR_KEPT,
        Promise.SLOWEST_PAIR_DIVIDED,
    },
    reach=Reach(
        untuned=2,
        short_context="every length pays, less than under linear",
        reason="breaks before factor * L0, so that the factor is twice the extension",
        source="bloc97 2023; Peng et al. 2023, arXiv:2309.00071, section 3.1",
    ),
)

DYNAMIC_NTK = Method(
    build=dynamic_ntk,
    summary="the NTK-aware base grows with the context",
    promises=ROTATION
    | {
        Promise.TRAINED_LENGTH_IS_ROPE,
        Promise.LENGTH_DEPENDENT,
        Promise.FASTEST_PAIR_KEPT,
    },
    reach=Reach(
        untuned=4,
        short_context="none: unscaled up to the trained length",
        reason="Llama 1 7B from 2k to 8k: perplexity 4.3 to 4.9 with a consistent key cache; "
        "engines have it at one length alone, as a larger base",
        source="NormXU 2023, Consistent-DynamicNTKRoPE (GovReport)",
    ),
)
