"""What one engine computes for a config, a served length and a layer type."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import Pairing
from ropewalk.core.lengths import LengthPolicy
from ropewalk.engines.reading import Reading
from ropewalk.frequencies.longrope import LongRoPE

ENGINE_NAMES = TRANSFORMERS, VLLM, SGLANG, LLAMA_CPP = (
    *("transformers", "vllm", "sglang", "llama.cpp"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTables:
    """Rows of a table that holds LongRoPE's short list and, behind it, the long one."""

    short: int
    long: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a rope dict comes to in one engine.

    lists       the same with both of LongRoPE's lists, where the engine holds two
    table_rows  positions of the cos and sin table, where the type decides them
    choice      the rule that decides among tables or lengths, where there is one
    """

    frequencies: Frequencies
    lists: LongRoPE | None = None
    table_rows: int | TwoTables | None = None
    choice: str | None = None
    keys_read: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """What one release computes. Whatever an error leaves undecided is None.

    engine                    "transformers", "vllm", "sglang" or "llama.cpp"
    encoding                  what it computes, for ``rw.attend`` over the checkpoint's own weights;
                              the softmax multiplier is the architecture's and comes on top
    inv_freq                  radians a token of each pair, float64, of the encoding at the served
                              length
    inv_freq_short, _long     the same of both lists, where the engine holds two
    attention_factor          on cos and sin, of the encoding at the served length
    softmax_scale_multiplier  on qk_head_dim^-1/2: MLA's mscale squared, not what the config states
                              itself (query_pre_attn_scalar, attention_multiplier)
    table_rows                positions of the cos and sin table; None where there is no table
    max_length                tokens admitted without an escape hatch (transformers: stated, not
                              enforced)
    error                     what the engine itself raises, as "Type: message"
    notes                     what a number alone does not say
    table_dtype               dtype in which cos and sin are kept, or computed
    choice                    the rule that decides among tables or lengths
    pairing                   which channels rotate together in the weights as that engine keeps
                              them
    keys_read                 keys of the rope dict that change any of these numbers
    """

    engine: str
    version: str
    encoding: Encoding | None = None
    inv_freq: tuple[float, ...] | None = None
    inv_freq_short: tuple[float, ...] | None = None
    inv_freq_long: tuple[float, ...] | None = None
    attention_factor: float | None = None
    softmax_scale_multiplier: float | None = None
    table_rows: int | TwoTables | None = None
    max_length: int | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    table_dtype: str
    choice: str
    pairing: Pairing
    keys_read: frozenset[str] = frozenset()

    def rotating(
        self, rotation: Rotation, policy: LengthPolicy, context_length: int
    ) -> "EngineAnswer":
        """The answer with a rotation under ``policy``, its numbers at ``context_length``."""
        frequencies, lists = rotation.frequencies, rotation.lists
        original = frequencies.geometry.trained_length
        return replace(
            self,
            encoding=Encoding(
                geometry=frequencies.geometry, frequencies=frequencies, length_policy=policy
            ),
            inv_freq=_listed(frequencies, context_length),
            inv_freq_short=_listed(lists, original),
            inv_freq_long=_listed(lists, original + 1),
            attention_factor=frequencies.attention_factor(context_length),
            table_rows=rotation.table_rows,
            choice=rotation.choice or self.choice,
            keys_read=frozenset(rotation.keys_read),
            notes=rotation.notes,
        )

    def difference(self, reference: "EngineAnswer") -> float | None:
        """Largest relative difference of a frequency from the reference's.

        None where either has none, or not as many; infinite where a pair rotates in one alone.
        """
        theirs, ours = self.inv_freq, reference.inv_freq
        if theirs is None or ours is None or len(theirs) != len(ours):
            return None
        pairs = zip(theirs, ours, strict=True)
        return max(abs(a - b) / abs(b) if b else math.inf if a else 0.0 for a, b in pairs)


EngineRule = Callable[[Reading], EngineAnswer]
"""What one release computes for a config, a served length and a layer type."""


def _listed(frequencies: Frequencies | None, context_length: int) -> tuple[float, ...] | None:
    return None if frequencies is None else tuple(frequencies.inv_freq(context_length).tolist())
