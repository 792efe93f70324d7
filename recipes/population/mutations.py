"""Configs of the library's families with keys dropped, exchanged and filled with nonsense.

What is asked of them: a document or a RopewalkError, never another error, never a number that is
none.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

import ropewalk as rw
from recipes.population.library import NotBuilt, default_config, model_types

NONSENSE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 0.5, -0.5, 1e-300, 1e300, 1e18, 2**31, 2**63, 2**200),
    *(float("inf"), float("-inf"), float("nan"), "", "yarn", "4096", "nope", [], [1], [0, 1, 2]),
    *(
        [None],
        ["x"],
        [1e308] * 3,
        {},
        {"a": 1},
        {"rope_type": "yarn"},
        [[1]],
        {"full_attention": {}},
    ),
)
KEYS = (
    *("max_position_embeddings", "rope_theta", "head_dim", "hidden_size", "num_attention_heads"),
    *("num_key_value_heads", "num_hidden_layers", "rope_scaling", "rope_parameters", "layer_types"),
    *("sliding_window", "use_sliding_window", "partial_rotary_factor", "rotary_dim", "model_type"),
    *("original_max_position_embeddings", "text_config", "position_embedding_type", "alibi"),
    *("no_rope_layers", "layer_rope_theta", "kv_lora_rank", "qk_rope_head_dim", "attn_config"),
    *("query_pre_attn_scalar", "rope_local_base_freq", "attention_chunk_size", "use_cla", "dtype"),
    *("num_kv_shared_layers", "per_layer_config", "block_configs", "compress_ratios", "n_head"),
)
ROPE_KEYS = (
    *("rope_type", "type", "factor", "rope_theta", "beta_fast", "beta_slow", "truncate", "mscale"),
    *("mscale_all_dim", "attention_factor", "low_freq_factor", "high_freq_factor", "mrope_section"),
    *("short_factor", "long_factor", "short_mscale", "original_max_position_embeddings", "alpha"),
    *("partial_rotary_factor", "llama_4_scaling_beta", "full_attention", "sliding_attention"),
)
TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional", "ntk", "su")
LENGTHS = (2, 300, 4096, 131072, 2**20, 2**40)


def mutants(count: int, seed: int, families: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """``count`` configs, the same for each seed."""
    draw = random.Random(seed)
    names = families or model_types()
    defaults: dict[str, dict[str, Any]] = {}
    while count:
        name = draw.choice(names)
        if name not in defaults:
            try:
                defaults[name] = default_config(name)
            except NotBuilt:
                continue
        config = deepcopy(defaults[name])
        for _ in range(draw.randint(1, 5)):
            _mutate(config, draw)
        count -= 1
        yield config


QUICK = ("inspect", "audit")
"""Commands that build no export."""


def faults(
    config: Mapping[str, Any], length: int, commands: tuple[str, ...] = (*QUICK, "plan", "export")
) -> Iterator[str]:
    """What the commands do of it that they must not."""
    asked: tuple[tuple[str, Callable[[], Mapping[str, Any]]], ...] = (
        ("inspect", lambda: rw.inspect(config)),
        ("plan", lambda: rw.plan(config, length, memory="24GB")),
        ("audit", lambda: _finite(rw.audit(config, length))),
        ("export", lambda: rw.export(config, "yarn:factor=4", "vllm", length)),
    )
    for name, ask in ((name, ask) for name, ask in asked if name in commands):
        try:
            with suppress(rw.RopewalkError):
                json.dumps(ask(), allow_nan=False)
        except Exception as error:  # any other type is the fault that is looked for
            yield f"{name}: {type(error).__name__}: {error}"


def _finite(audit: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the difference of frequencies: infinite where a pair rotates in one alone."""
    for engine in (*audit["engines"].values(), *audit["readers"].values()):
        del engine["inv_freq_difference"]
    return audit


def _mutate(config: dict[str, Any], draw: random.Random) -> None:
    inner = [value for key, value in config.items() if key.endswith("_config") and value]
    section = draw.choice([config, *(each for each in inner if isinstance(each, dict))])
    way = draw.randrange(5)
    if way == 0 and section:
        section.pop(draw.choice(sorted(section)))
    elif way == 1 and section:
        section[draw.choice(sorted(section))] = deepcopy(draw.choice(NONSENSE))
    elif way == 2:
        section[draw.choice(KEYS)] = deepcopy(draw.choice(NONSENSE))
    else:
        rope = section.get(draw.choice(("rope_scaling", "rope_parameters")))
        rope = rope if isinstance(rope, dict) else {"rope_type": draw.choice(TYPES), "factor": 4.0}
        rope[draw.choice(ROPE_KEYS)] = deepcopy(draw.choice((*NONSENSE, *TYPES)))
        section[draw.choice(("rope_scaling", "rope_parameters"))] = rope
