"""Biases of the distance, stretched as a method would stretch a rotation.

    linear       distances are divided by s: ALiBi's slopes a_h / s, T5's bucket(D / s)
    ntk_aware    what is near is kept, what is far divided by s: ALiBi's slopes a_h / s^t_h, T5's
                 buckets up to s M
    rerope       distances beyond the window are shown as the window: ALiBi

s   factor. Other methods, and other biases, leave a layer as it is.

Source: as ``ropewalk.scores.alibi`` and ``ropewalk.scores.t5_bias`` say.
Deviation: T5's were not published; they are the same two ideas on its buckets.
"""

from dataclasses import replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.score_mods import LearnedBias, ScoreMod
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.ntk_aware import NTKAware
from ropewalk.positions.rerope import ReRoPE
from ropewalk.scores.alibi import ALiBi, InterpolatedSlopes, NTKSlopes
from ropewalk.scores.t5_bias import T5Bias

STRETCHES = ("linear", "ntk_aware", "rerope")
"""Methods that change such a layer."""


def methods_that_stretch(own: Encoding) -> tuple[str, ...]:
    """Methods of a spec that change a layer with this encoding and no rotation."""
    if own.frequencies is not None:
        return ()
    if any(isinstance(mod, ALiBi) for mod in own.score_mods):
        return STRETCHES
    return STRETCHES[:2] if any(isinstance(bias, T5Bias) for bias in own.learned) else ()


def stretched(own: Encoding, asked: Encoding) -> Encoding:
    """``own``, which rotates nothing, with the biases that ``asked`` makes of its own."""
    return replace(
        own,
        score_mods=tuple(_fixed(mod, asked) for mod in own.score_mods),
        learned=tuple(_learned(bias, asked.frequencies) for bias in own.learned),
    )


def _fixed(mod: ScoreMod, asked: Encoding) -> ScoreMod:
    if not isinstance(mod, ALiBi):
        return mod
    if isinstance(asked.position_map, ReRoPE):
        return replace(mod, farthest=asked.position_map.window)
    if isinstance(asked.frequencies, Linear):
        slopes = InterpolatedSlopes(trained=mod.slopes, factor=asked.frequencies.factor)
        return replace(mod, slopes=slopes)
    if isinstance(asked.frequencies, NTKAware):
        scaled = NTKSlopes(trained=mod.slopes, factor=asked.frequencies.factor)
        return replace(mod, slopes=scaled)
    return mod


def _learned(bias: LearnedBias, frequencies: Frequencies | None) -> LearnedBias:
    if not isinstance(bias, T5Bias):
        return bias
    if isinstance(frequencies, Linear):
        return replace(bias, factor=frequencies.factor)
    if isinstance(frequencies, NTKAware):
        return replace(bias, max_distance=round(bias.max_distance * frequencies.factor))
    return bias
