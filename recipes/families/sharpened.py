"""Tiny models on which an error shows: random norms and biases, large queries and keys.

With default initial values a shift of half the positions by one moves the logits of some
families by less than 1e-4; here it moves them by far more than 1e-3.
"""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

L0 = 32
VOCABULARY = 97

FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "mistral sliding": {"sliding_window": 48},
    "qwen2": {},
    "qwen2 sliding": {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1},
    "qwen3": {},
    "olmo2": {},
    "smollm3": {},
    "granite": {"attention_multiplier": 0.25, "logits_scaling": 2.0},
    "starcoder2": {"sliding_window": None},
    "starcoder2 sliding": {"sliding_window": 40},
}
"""Name -> what its config adds. The word after a space only tells variants apart."""

_EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "experts_implementation": "eager",
}
_LATENT = {
    "head_dim": 8,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "experts_implementation": "eager",
}
_ONE_OF_EACH = ["sliding_attention", "full_attention"]

MORE_FAMILIES = {
    "gemma": {},
    "gemma2": {"sliding_window": 24, "query_pre_attn_scalar": 16},
    "gemma3_text": {
        "sliding_window": 24,
        "query_pre_attn_scalar": 16,
        "layer_types": _ONE_OF_EACH,
    },
    "gemma3_text wide": {
        "sliding_window": 48,
        "query_pre_attn_scalar": 16,
        "layer_types": _ONE_OF_EACH,
    },
    "gpt_oss": {"sliding_window": 24, **_EXPERTS},
    "phi": {},
    "phi3": {},
    "gpt_neox": {},
    "persimmon": {},
    "cohere": {},
    "cohere2": {"sliding_window": 48, "layer_types": _ONE_OF_EACH},
    "glm": {},
    "glm4": {},
    "nemotron": {},
    "stablelm": {},
    "helium": {},
    "arcee": {},
    "apertus": {},
    "ernie4_5": {},
    "exaone4": {"sliding_window": 48, "layer_types": _ONE_OF_EACH},
    "seed_oss": {},
    "hunyuan_v1_dense": {},
    "olmo3": {"sliding_window": 24, "layer_types": _ONE_OF_EACH},
    "mixtral": _EXPERTS,
    "qwen3_moe": _EXPERTS,
    "minimax": {**_EXPERTS, "layer_types": ["full_attention", "full_attention"]},
    "nanochat": {},
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "llama4_text": _EXPERTS,
}
"""Families beyond the Llama-shaped ones, two layers each.

MiniMax without its linear-attention layers: with them the library's own decoding differs from
its own full pass.
"""


ENCODERS = {
    "nomic_bert": {},
    "modernbert": {"local_attention": 24, "cls_token_id": 1, "sep_token_id": 2, "eos_token_id": 2},
    "eurobert": {"mask_token_id": 3},
    "gte": {},
    "jina_embeddings_v3": {},
    "ultrabert": {"sliding_window": 48, "eos_token_id": 2},
    "esmc": {"num_key_value_heads": 4},
    "esm": {"position_embedding_type": "rotary", "mask_token_id": 3},
}
"""Bidirectional families, two layers each, with the head that they were trained with."""


def tiny(name="llama", dtype=torch.float64, **changes):
    """A sharpened model of a family: trained length 32, 4 layers, grouped-query heads of 16."""
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": L0,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": None,
    }
    if name in MORE_FAMILIES or name in ENCODERS:
        settings["num_hidden_layers"] = 2
    settings = {**settings, **{**FAMILIES, **MORE_FAMILIES, **ENCODERS}.get(name, {}), **changes}
    experts = settings.pop("experts_implementation", None)
    config = AutoConfig.for_model(name.split()[0], **settings)
    options = {"experts_implementation": experts} if experts else {}
    loader = AutoModelForMaskedLM if name in ENCODERS else AutoModelForCausalLM
    model = loader.from_config(config, **options).eval()
    return sharpen(model).to(dtype)


_TURNED = ("q_proj", "k_proj", "query", "key", "qkv")
"""In the names of weights that make queries and keys."""


@torch.no_grad()
def sharpen(model):
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower() and parameter.ndim == 1 and "weight" in name:
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
        else:
            size = 0.2 if any(word in name for word in _TURNED) else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return model


def token_ids(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (batch, length), generator=generator)


@torch.no_grad()
def logits(model, ids, **inputs):
    return model(ids, **inputs).logits


@torch.no_grad()
def in_calls(model, ids, sizes, **inputs):
    """Logits of ``ids`` fed in calls of the given sizes through one key cache."""
    cache, outputs, start = None, [], 0
    for size in sizes:
        out = model(ids[:, start : start + size], past_key_values=cache, use_cache=True, **inputs)
        cache, start = out.past_key_values, start + size
        outputs.append(out.logits)
    assert start == ids.shape[1]
    return torch.cat(outputs, dim=1)


def left_padded(ids, length, mate):
    """``ids`` ``[1, n]`` padded on the left to ``length`` beside ``mate`` ``[1, length]``."""
    missing = length - ids.shape[1]
    padded = torch.cat([torch.zeros(1, missing, dtype=torch.long), ids], dim=1)
    real = torch.arange(length)[None, :] >= torch.tensor([[missing], [0]])
    return torch.cat([padded, mate]), real.long()
