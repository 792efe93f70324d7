"""What one engine computes for a config, a served length and a layer type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.core.geometry import Pairing


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTables:
    """Rows of a table that holds LongRoPE's short list and, behind it, the long one."""

    short: int
    long: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """Effective numbers of one release. Whatever an error leaves undecided is None.

    engine                    "transformers", "vllm", "sglang" or "llama.cpp"
    inv_freq                  radians a token of each pair, float64, at the served length
    inv_freq_short, _long     the same of both lists, where the engine holds two
    attention_factor          on cos and sin
    softmax_scale_multiplier  on qk_head_dim^-1/2: MLA's mscale squared, not what the config states
                              itself (query_pre_attn_scalar, attention_multiplier)
    table_rows                positions of the cos and sin table; None where there is no table
    max_length                tokens admitted without an escape hatch (transformers: stated, not
                              enforced)
    error                     what the engine itself raises, as "Type: message"
    notes                     what a number alone does not say
    table_dtype               dtype in which cos and sin are kept, or computed
    choice                    the rule that decides among tables or lengths
    pairing                   which channels turn together in the weights as that engine keeps them
    keys_read                 keys of the rope dict that change any of these numbers
    """

    engine: str
    version: str
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
    keys_read: frozenset[str]


EngineRule = Callable[[Mapping[str, Any], int | None, str | None], EngineAnswer]
"""(config, served_length, layer_type) -> EngineAnswer; None: nothing was asked for."""
