"""vLLM with methods of Ropewalk: the entry point of ``vllm.general_plugins``.

    VLLM_PLUGINS=ropewalk vllm serve MODEL --hf-overrides '{"rope_parameters": {"rope_type":
        "ropewalk", "spec": "yarn:factor=4,ramp=paper", "rope_theta": 10000.0,
        "original_max_position_embeddings": 256}, "max_position_embeddings": 1024}'

vLLM loads plug-ins in its front end, its core and its workers, and has no hook for a type of its
own: ``get_rope`` is replaced where it lies and where models hold it.

Source: vLLM 0.33.0, plugins/__init__.py, model_executor/layers/rotary_embedding/__init__.py
    and base.py; run on 0.32.0.
"""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from ropewalk.integrations.plugins.wanted import NAME, wanted

VARIABLE = "VLLM_PLUGINS"
"""Names the plug-ins that are wanted; ours does nothing unless it is named there."""
ROOM = "vllm.model_executor.layers.rotary_embedding"


def register() -> None:
    """Let ``get_rope`` know ``rope_type`` ropewalk; nothing unless ``VLLM_PLUGINS`` names us."""
    if not wanted(VARIABLE):
        return
    room = import_module(ROOM)
    old = room.get_rope
    if hasattr(old, "__wrapped__") and old.__module__ == __name__:
        return  # loaded before in this process
    new = _knowing_us(old)
    for module in [each for each in sys.modules.values() if each is not None]:
        if getattr(module, "__name__", "").startswith("vllm."):
            for name, value in list(vars(module).items()):
                if value is old:
                    setattr(module, name, new)


def _knowing_us(old: Callable[..., Any]) -> Callable[..., Any]:
    """``get_rope`` that answers for our type and asks the old one for all others."""
    from ropewalk.integrations.plugins.named import is_named

    signature = inspect.signature(old)

    @wraps(old)
    def get_rope(*given: Any, **named: Any) -> Any:
        call = signature.bind(*given, **named)
        call.apply_defaults()
        if not is_named(call.arguments["rope_parameters"]):
            return old(*given, **named)
        return _rotary(call.arguments)

    get_rope.__module__ = __name__
    return get_rope


def _rotary(call: dict[str, Any]) -> Any:
    """A rotary module of vLLM's over our table; one for all layers that ask alike."""
    import torch

    from ropewalk.integrations.plugins.named import NamedRotation

    rope, head = call["rope_parameters"], call["head_size"]
    turned = rope.get("rope_dim") or int(head * rope.get("partial_rotary_factor", 1.0))
    theta, most = rope.get("rope_theta", 10_000), _rows(call["max_position"])
    rotation = NamedRotation.of(
        rope,
        rotary_dim=turned,
        rope_theta=theta,
        max_position=call["max_position"],
        dual_chunk=call["dual_chunk_attention_config"],
    )
    dtype = call["dtype"] or torch.get_default_dtype()
    made = import_module(ROOM)._ROPE_DICT
    key = (NAME, rotation, head, turned, most, call["is_neox_style"], dtype)
    if key not in made:
        kind = _class()
        made[key] = kind(rotation, head, turned, most, theta, call["is_neox_style"], dtype)
    return made[key]


def _rows(max_position: int) -> int:
    """Positions of the table: what the config states, or what is served where that is more."""
    from vllm.config import get_current_vllm_config

    served = get_current_vllm_config().model_config
    return max(max_position, served.max_model_len if served is not None else 0)


def _class() -> Any:
    """vLLM's rotary class over a table of ours; made where vLLM is, never at import."""
    base: Any = import_module(f"{ROOM}.base").RotaryEmbedding

    def begin(self: Any, rotation: Any, *given: Any) -> None:
        self.ropewalk_rotation = rotation
        base.__init__(self, *given)

    def compute_inv_freq(self: Any, theta: float) -> Any:
        return self.ropewalk_rotation.inv_freq()

    def compute_cos_sin_cache(self: Any) -> Any:
        import torch

        rows = self.ropewalk_rotation.rows(0, self.max_position_embeddings)
        return rows.to(torch.get_default_device())

    members = {
        "__init__": begin,
        "_compute_inv_freq": compute_inv_freq,
        "_compute_cos_sin_cache": compute_cos_sin_cache,
    }
    return type("RopewalkRotaryEmbedding", (base,), members)
