"""What a graph of llama.cpp takes of a GGUF file: by architecture, its name in the file.

A tensor that an architecture does not create makes the file unloadable ("wrong number of
tensors"), and a key that it does not read changes nothing.

Source: llama.cpp 11434 (the release after 0c1e57098), src/models/*.cpp: create_tensor of
    LLM_TENSOR_ROPE_FREQS and LLM_TENSOR_ROPE_FACTORS_*, get_rope_factors in the graph, and
    get_key of LLM_KV_ROPE_SCALING_YARN_*; src/llama-model.cpp (load_hparams, get_rope_factors).
"""

_BOTH = frozenset(
    {"apertus", "deci", "granite", "granite_swa", "granitemoe", "llama", "minicpm", "mistral3"}
)
"""Lists where the type is longrope, else rope_freqs."""
READS_FREQS = _BOTH | {"arcee", "exaone", "exaone-moe", "exaone4", "gemma4", "granitehybrid"}
READS_FREQS |= {"llama4", "nanbeige"}
"""Create rope_freqs.weight and turn by it."""
READS_LISTS = _BOTH | {"minicpm3", "phi3", "phimoe"}
"""Create rope_factors_short and rope_factors_long and turn by them."""
READS_BETAS = frozenset({"grok", "mistral3"})
READS_EXT_FACTOR = frozenset({"grok"})
"""Read yarn_ext_factor and yarn_attn_factor."""
READS_LOG_MULTIPLIER = frozenset({"deepseek2", "deepseek32", "mistral3"})
A_TENTH = frozenset({"deepseek2", "deepseek32"})
"""Store a tenth of mscale_all_dim as the log multiplier, and scale their softmax by it."""
WHOLE_HEADS = frozenset({"deci", "falcon", "llama", "llama-embed"})
"""Refuse a rope.dimension_count that is not the head's width."""

NEIGHBOURING_PAIRS = frozenset(
    {"arcee", "arctic", "baichuan", "bailingmoe", "bailingmoe3", "chameleon", "chatglm"}
    | {"cohere2", "cohere2moe", "command-r", "deci", "deepseek", "deepseek2"}
    | {"deepseek2-ocr", "deepseek32", "deepseek4", "dots3note", "eagle3", "ernie4_5"}
    | {"ernie4_5-moe", "glm-dsa", "granite", "granite_swa", "granitehybrid", "granitemoe"}
    | {"graniteswitch", "internlm2", "llada", "llama", "llama-embed", "llama4", "maincoder"}
    | {"minicpm", "mistral3", "mistral4", "muse-glimmer", "nanbeige", "neo-bert", "olmo"}
    | {"plm", "pockettts", "smollm3", "starcoder", "xverse"}
)
"""Whose graphs turn neighbouring channels: the converter permutes their weights."""


def reads_lists(architecture: str, scaling: str) -> bool:
    """Whether the short and the long list are loaded under that scaling type."""
    only = architecture in READS_LISTS and architecture not in READS_FREQS
    return only or (architecture in READS_LISTS and scaling == "longrope")


def reads_freqs(architecture: str, scaling: str) -> bool:
    """Whether ``rope_freqs.weight`` is loaded under that scaling type."""
    return architecture in READS_FREQS and not reads_lists(architecture, scaling)
