"""The parts of vLLM and SGLang that a plug-in touches, as their releases have them, in memory.

Source: vLLM 0.33.0, model_executor/layers/rotary_embedding; SGLang 0.5.23,
    srt/layers/rotary_embedding, srt/plugins/hook_registry.py.
"""

import sys
from enum import Enum
from types import ModuleType, SimpleNamespace

import torch


class RotaryEmbedding(torch.nn.Module):
    """What both engines' base class does when it is made."""

    position_start = 0

    def __init__(
        self, head_size, rotary_dim, max_position_embeddings, base, is_neox_style, dtype
    ) -> None:
        super().__init__()
        self.head_size, self.rotary_dim, self.base = head_size, rotary_dim, base
        self.max_position_embeddings, self.is_neox_style = max_position_embeddings, is_neox_style
        table = self._compute_cos_sin_cache().to(dtype)
        self.register_buffer("cos_sin_cache", table, persistent=False)

    def _compute_inv_freq(self, base):
        powers = torch.arange(0, self.rotary_dim, 2, dtype=torch.float) / self.rotary_dim
        return 1.0 / base**powers

    def _compute_cos_sin_cache(self):
        positions = torch.arange(self.max_position_embeddings, dtype=torch.float)
        angles = torch.outer(positions, self._compute_inv_freq(self.base))
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _module(monkeypatch, name, **members):
    module = ModuleType(name)
    vars(module).update(members)
    module.__path__ = []
    monkeypatch.setitem(sys.modules, name, module)
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


def fake_vllm(monkeypatch, served):
    """``vllm`` in sys.modules, served with that length. Returns the room of rotary classes and a
    module of a model, which imported ``get_rope``."""
    for name in ("vllm", "vllm.model_executor", "vllm.model_executor.layers"):
        _module(monkeypatch, name)
    config = SimpleNamespace(model_config=SimpleNamespace(max_model_len=served))
    _module(monkeypatch, "vllm.config", get_current_vllm_config=lambda: config)

    def get_rope(
        head_size,
        max_position,
        is_neox_style=True,  # noqa: FBT002
        rope_parameters=None,
        dtype=None,
        dual_chunk_attention_config=None,
        mrope_positions_factor=4,
    ):
        kind = (rope_parameters or {}).get("rope_type", "default")
        if kind != "default":
            raise ValueError(f"Unknown RoPE scaling type {kind}")
        theta = (rope_parameters or {}).get("rope_theta", 10000)
        return RotaryEmbedding(
            head_size, head_size, max_position, theta, is_neox_style, torch.float32
        )

    name = "vllm.model_executor.layers.rotary_embedding"
    room = _module(monkeypatch, name, get_rope=get_rope, _ROPE_DICT={})
    _module(monkeypatch, f"{name}.base", RotaryEmbedding=RotaryEmbedding)
    _module(monkeypatch, "vllm.model_executor.models")
    llama = _module(monkeypatch, "vllm.model_executor.models.llama", get_rope=get_rope)
    return room, llama


class HookType(Enum):
    AROUND = "around"


def fake_sglang(monkeypatch):
    """``sglang`` in sys.modules. Returns the factory and the hooks that were registered."""
    parts = ["sglang", "sglang.srt", "sglang.srt.layers", "sglang.srt.plugins"]
    for name in (*parts, "sglang.srt.layers.rotary_embedding"):
        _module(monkeypatch, name)
    hooks = {}

    class HookRegistry:
        @staticmethod
        def register(target, hook, hook_type):
            assert hook_type is HookType.AROUND
            hooks[target] = hook

    name = "sglang.srt.plugins.hook_registry"
    _module(monkeypatch, name, HookRegistry=HookRegistry, HookType=HookType)

    def get_rope(  # noqa: PLR0917
        head_size,
        rotary_dim,
        max_position,
        base,
        is_neox_style=True,  # noqa: FBT002
        rope_scaling=None,
        dtype=None,
        partial_rotary_factor=1.0,
        dual_chunk_attention_config=None,
    ):
        return RotaryEmbedding(
            head_size, rotary_dim, max_position, base, is_neox_style, torch.float32
        )

    made = {}
    factory = _module(
        monkeypatch,
        "sglang.srt.layers.rotary_embedding.factory",
        get_rope=get_rope,
        _ROPE_DICT=made,
        _get_live_rope_cache_entry=made.get,
    )
    base = "sglang.srt.layers.rotary_embedding.base"
    _module(monkeypatch, base, RotaryEmbedding=RotaryEmbedding)
    return factory, hooks
