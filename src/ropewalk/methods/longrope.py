"""LongRoPE as a method."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor
from ropewalk.frequencies.longrope import LongRoPE, longrope_attention_factor
from ropewalk.methods.method import Method, Promise, Reach
from ropewalk.methods.policies import Policy, PolicyWords

LONG_STEP = 2**20
"""Rows beyond the trained length that share a list by default: all of them, in practice."""


def longrope(
    geometry: RopeGeometry,
    *,
    short_factor: tuple[float, ...],
    long_factor: tuple[float, ...],
    factor: float,
    start_tokens: int = 0,
    attention_factor: float | None = None,
    short_mscale: float | None = None,
    long_mscale: float | None = None,
    policy: Policy = "per_query",
    step: int | None = None,
    new_tokens: int | None = None,
    length: int | None = None,
) -> Encoding:
    """Searched divisors, one list up to the trained length and one beyond.

    short_factor, long_factor         one divisor for each pair
    factor                            longest context over L0, for the attention factor
    start_tokens                      positions that rotate unscaled
    attention_factor                  replaces the computed one
    short_mscale, long_mscale         replace it for one list each
    policy, step, new_tokens, length  which context length a row and its keys see; two lists know
                                      two lengths, so the step sets the cost of a pass alone

    Source: Ding et al. 2024, LongRoPE, arXiv:2402.13753.
    """
    check_factor(factor)
    if step is None:
        step = LONG_STEP if policy == "per_query" else 1
    magnitude = attention_factor
    if magnitude is None:
        magnitude = longrope_attention_factor(factor, geometry.trained_length)
    return Encoding(
        geometry=geometry,
        frequencies=LongRoPE(
            geometry=geometry,
            short_factor=tuple(short_factor),
            long_factor=tuple(long_factor),
            short_magnitude=magnitude if short_mscale is None else short_mscale,
            long_magnitude=magnitude if long_mscale is None else long_mscale,
            start_tokens=start_tokens,
        ),
        length_policy=PolicyWords(
            policy=policy, step=step, new_tokens=new_tokens, length=length
        ).build(geometry.trained_length),
    )


LONGROPE = Method(
    build=longrope,
    summary="searched divisors, a short and a long list",
    promises=frozenset({Promise.ONE_MAP, Promise.ROTATION_ONLY, Promise.LENGTH_DEPENDENT}),
    reach=Reach(
        untuned=8,
        tuned=512,
        training="a search of factors, then 400 and 600 steps",
        short_context="small with the second, short list",
        reason="needs factor lists that were searched for this model; ropewalk export takes them",
        source="Ding et al. 2024, arXiv:2402.13753",
    ),
)
