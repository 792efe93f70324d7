"""SGLang with methods of Ropewalk: the entry point of ``sglang.srt.plugins``.

    SGLANG_PLUGINS=ropewalk python -m sglang.launch_server --model-path MODEL --context-length 1024
        --json-model-override-args '{"rope_parameters": {"rope_type": "ropewalk", "spec":
        "yarn:factor=4,ramp=paper", "rope_theta": 10000.0,
        "original_max_position_embeddings": 256}, "max_position_embeddings": 1024}'

Source: SGLang 0.5.23, srt/plugins/hook_registry.py, srt/layers/rotary_embedding/factory.py and
    base.py.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ropewalk.integrations.plugins.wanted import NAME, wanted

VARIABLE = "SGLANG_PLUGINS"
"""Names the plug-ins that are wanted; ours does nothing unless it is named there."""
FACTORY = "sglang.srt.layers.rotary_embedding.factory"
_BASE = "sglang.srt.layers.rotary_embedding.base"
_GROWTH = 128
"""A table that grows does so by as many rows."""


def register() -> None:
    """Let ``get_rope`` know ``rope_type`` ropewalk; nothing unless ``SGLANG_PLUGINS`` names us."""
    if not wanted(VARIABLE):
        return
    hooks = import_module("sglang.srt.plugins.hook_registry")
    for name in ("get_rope", "get_rope_cpu"):
        hooks.HookRegistry.register(f"{FACTORY}.{name}", around_get_rope, hooks.HookType.AROUND)


def around_get_rope(old: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Answers for our type, and asks SGLang's own for all others."""
    from ropewalk.integrations.plugins.named import is_named

    call = inspect.signature(old).bind(*given, **named)
    call.apply_defaults()
    if not is_named(call.arguments["rope_scaling"]):
        return old(*given, **named)
    return _rotary(call.arguments)


def _rotary(call: dict[str, Any]) -> Any:
    """A rotary module of SGLang's over our table; one for all layers that ask alike."""
    import torch

    from ropewalk.integrations.plugins.named import NamedRotation

    rope, share = call["rope_scaling"], call["partial_rotary_factor"]
    turned = int(call["rotary_dim"] * share) if share < 1 else call["rotary_dim"]
    rotation = NamedRotation.of(
        rope,
        rotary_dim=turned,
        rope_theta=call["base"],
        max_position=call["max_position"],
        dual_chunk=call.get("dual_chunk_attention_config"),
    )
    dtype = call["dtype"] or torch.get_default_dtype()
    factory = import_module(FACTORY)
    settings = (call["head_size"], turned, call["max_position"], call["base"])
    key = (NAME, rotation, *settings, call["is_neox_style"], dtype)
    made = factory._get_live_rope_cache_entry(key)
    if made is None:
        made = _class()(rotation, *settings, call["is_neox_style"], dtype)
        factory._ROPE_DICT[key] = made
    return made


def _class() -> Any:
    """SGLang's rotary class over a table of ours; made where SGLang is, never at import."""
    base: Any = import_module(_BASE).RotaryEmbedding

    def begin(self: Any, rotation: Any, *given: Any) -> None:
        self.ropewalk_rotation = rotation
        base.__init__(self, *given)

    def compute_inv_freq(self: Any, theta: float) -> Any:
        return self.ropewalk_rotation.inv_freq()

    def compute_cos_sin_cache(self: Any) -> Any:
        import torch

        first = self.position_start
        rows = self.ropewalk_rotation.rows(first, first + self.max_position_embeddings)
        return rows.to(torch.get_default_device())

    def ensure_cos_sin_cache_length(self: Any, needed_max_pos: int) -> None:
        import torch

        table = self.cos_sin_cache
        if needed_max_pos < len(table):
            return
        first, stop = len(table), (needed_max_pos // _GROWTH + 1) * _GROWTH
        start = self.position_start
        rows = self.ropewalk_rotation.rows(start + first, start + stop)
        self.cos_sin_cache = torch.cat([table, rows.to(table)])

    members = {
        "__init__": begin,
        "_compute_inv_freq": compute_inv_freq,
        "_compute_cos_sin_cache": compute_cos_sin_cache,
        "_ensure_cos_sin_cache_length": ensure_cos_sin_cache_length,
    }
    return type("RopewalkRotaryEmbedding", (base,), members)
