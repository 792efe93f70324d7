"""Trained biases as methods: numbers, kernels or networks of the distance, gates, profiles."""

from dataclasses import replace
from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.score_mods import LearnedBias, ScoreMod
from ropewalk.methods.method import Method, Promise, Reach
from ropewalk.methods.policies import static_encoding
from ropewalk.scores.fire import FIRE as FIREBias
from ropewalk.scores.fox import FoX
from ropewalk.scores.inkling import Inkling
from ropewalk.scores.kerple import Kernel, LogKernel, PowerKernel
from ropewalk.scores.n_floor import NFloor
from ropewalk.scores.t5_bias import T5Bias

FIRE_THRESHOLD = 512
"""T of the paper's code."""
_TRAINED = frozenset({Promise.ONE_MAP, Promise.ROTATES_NOTHING, Promise.TRAINED})


def t5_bias(
    geometry: RopeGeometry,
    *,
    relative_attention_num_buckets: int = 32,
    relative_attention_max_distance: int = 128,
    direction: Literal["causal", "bidirectional"] = "causal",
) -> Encoding:
    """A learned number for each head and each bucket of distances.

    relative_attention_num_buckets   of both directions together
    relative_attention_max_distance  from here on all distances share a bucket
    direction                        whether keys that come after have buckets of their own

    Source: Raffel et al. 2019, T5, arXiv:1910.10683, section 2.1.
    """
    bias = T5Bias(
        buckets=relative_attention_num_buckets,
        max_distance=relative_attention_max_distance,
        direction=direction,
    )
    return _biased(geometry, bias)


def kerple(geometry: RopeGeometry, *, kernel: Literal["log", "power"] = "log") -> Encoding:
    """Logits fall as a learned kernel of the distance.

    kernel  ``log``: -r1 ln(1 + r2 D); ``power``: -r1 D^r2

    Source: Chi et al. 2022, KERPLE, arXiv:2205.09921.
    """
    bias: Kernel = LogKernel() if kernel == "log" else PowerKernel()
    return _biased(geometry, bias)


def fire(geometry: RopeGeometry, *, threshold: int | None = None, units: int = 32) -> Encoding:
    """A small network of the distance over what the row sees.

    threshold  tokens up to which distances are not divided, at the start of training; by default
               512, at most the trained length
    units      of the hidden layer

    Source: Li et al. 2023, FIRE, arXiv:2310.04418.
    """
    start = min(FIRE_THRESHOLD, geometry.trained_length) if threshold is None else threshold
    return _biased(geometry, FIREBias(threshold=start, units=units))


def fox(geometry: RopeGeometry) -> Encoding:
    """Forgetting attention: logits fall by the gates between a key and its row.

    Source: Lin et al. 2025, Forgetting Transformer, arXiv:2503.02130.
    """
    return _biased(geometry, FoX())


def inkling(
    geometry: RopeGeometry,
    *,
    rel_extent: int = 1024,
    d_rel: int = 16,
    log_scaling_n_floor: int | None = None,
    log_scaling_alpha: float = 0.1,
) -> Encoding:
    """Rows mix learned profiles of the distance; beyond the extent there is no position.

    rel_extent           tokens that a profile covers
    d_rel                profiles
    log_scaling_n_floor  keys from which on logits grow, the bias too; by default never
    log_scaling_alpha    how fast

    Source: Thinking Machines' Inkling, transformers 5.23, modeling_inkling.py.
    """
    scaled = log_scaling_n_floor is not None
    scale = (
        NFloor(floor=log_scaling_n_floor, alpha=log_scaling_alpha)
        if log_scaling_n_floor is not None
        else ScoreMod()
    )
    bias = Inkling(extent=rel_extent, width=d_rel, scale=scale)
    return replace(_biased(geometry, bias), score_mods=(scale,) if scaled else ())


def _biased(geometry: RopeGeometry, bias: LearnedBias) -> Encoding:
    return replace(static_encoding(geometry, None), learned=(bias,))


T5_BIAS = Method(
    build=t5_bias,
    summary="a learned number for each bucket of distances",
    promises=_TRAINED,
    reach=Reach(
        untuned=2,
        short_context="for models trained with it",
        reason="512 trained tokens: perplexity 19.65 at 512, best (18.77) at 1,112, 48.90 at 9,512",
        source="Press et al. 2021, arXiv:2108.12409, table 2",
    ),
)

KERPLE = Method(
    build=kerple, summary="logits fall as a learned kernel of the distance", promises=_TRAINED
)

FIRE = Method(
    build=fire, summary="a small network of the distance over what a row sees", promises=_TRAINED
)

FOX = Method(build=fox, summary="logits fall by forget gates of the data", promises=_TRAINED)

INKLING = Method(
    build=inkling, summary="rows mix learned profiles of the distance", promises=_TRAINED
)
