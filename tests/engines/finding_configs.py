"""Configs in which findings are seen, and rope dicts to make them of."""

import json
import math

from places import GOLDENS

CONFIGS = json.loads((GOLDENS / "engines.json").read_text("utf-8"))["configs"]
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 512,
    "num_attention_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 10000.0,
}
QWEN = CONFIGS["yarn-qwen25"]
DEEPSEEK = CONFIGS["mla-deepseek-v3"]
INTERNLM = CONFIGS["dynamic-internlm3"]
NOMIC = CONFIGS["dynamic-served-below-trained"]
PHI3 = CONFIGS["longrope-phi3"]
OLMO3 = {**LLAMA, "architectures": ["Olmo3ForCausalLM"], "model_type": "olmo3"}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}
EXTENDED = {**LLAMA, "max_position_embeddings": 32768}


def with_rope(config, **rope):
    """``config`` with keys of its rope dict replaced; None removes one."""
    name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    merged = {**(config.get(name) or {}), **rope}
    return {**config, name: {k: v for k, v in merged.items() if v is not None}}


def yarn(**rope):
    return {**EXTENDED, "rope_scaling": {**YARN, **rope}}


def halved(**rope):
    """DeepSeek-V3 with half of its mscale."""
    return with_rope(DEEPSEEK, mscale=0.5, **rope)


def longrope(config=LLAMA, **rope):
    lists = {"short_factor": [1.0] * 32, "long_factor": [4.0] * 32}
    scaling = {"rope_type": "longrope", "original_max_position_embeddings": 2048, **lists, **rope}
    return {**config, "rope_scaling": scaling}


def nested(dicts, **rest):
    flat = {k: v for k, v in EXTENDED.items() if k != "rope_theta"}
    layers = ["full_attention", "sliding_attention"]
    return {**flat, "layer_types": layers, "rope_parameters": dicts, **rest}


DEFAULT = {"rope_type": "default", "rope_theta": 1e4}
NESTED_YARN = {"full_attention": {**YARN, "rope_theta": 1e4}, "sliding_attention": DEFAULT}
UNTRUNCATED = {
    "full_attention": {**YARN, "rope_theta": 1e4, "truncate": False},
    "sliding_attention": DEFAULT,
}
PROPORTIONAL = {"rope_type": "proportional", "partial_rotary_factor": 0.25}
ALL = ["transformers", "vllm", "sglang", "llama.cpp"]
BUT_SGLANG = ["transformers", "vllm", "llama.cpp"]
"""Engines that do not read attn_factor."""
NOT_DEEPSEEKS = ["transformers", "llama.cpp"]
"""Engines that do not take one mscale as DeepSeek's released code does."""
M4 = 1 + 0.1 * math.log(4)
"""YaRN's own magnitude for factor 4."""
