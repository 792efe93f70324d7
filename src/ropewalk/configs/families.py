"""What a config leaves to its family: the one home of tables by model_type.

Source: the config and model classes of transformers 5.23.0.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.core.geometry import Pairing

SLIDING_LAYERS_UNSCALED = frozenset({"olmo3"})
"""Families whose flat rope dict scales full attention alone."""

LOCAL_THETA: Mapping[str, float] = MappingProxyType({"gemma3_text": 1e4, "gemma3n_text": 1e4})
"""The base of sliding layers where the config states none."""

WINDOW_PATTERN: Mapping[str, int] = MappingProxyType(
    {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma4_text": 6, "gpt_oss": 2}
    | {"cohere2": 4, "exaone4": 4, "olmo3": 4}
)
"""One layer in so many attends fully, the others within the window."""

ASKED_FOR_ROPE = frozenset({"granitemoehybrid", "esm"})
"""Families that rotate where position_embedding_type says so, and not where it says nothing."""

READ_BY: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "alibi": frozenset({"falcon", "mpt"}),
        "layer_rope_theta": frozenset(
            {"granite_swa", "granitemoe_swa", "muse_glimmer_text", "muse_spark_text"}
        ),
        "no_rope_layers": frozenset({"llama4_text", "mistral_large4_text", "smollm3"}),
        "position_embedding_type": ASKED_FOR_ROPE | {"evolla"},
        "use_mem_rope": frozenset({"zamba2"}),
        "use_sliding_window": frozenset(
            {"dots3_note_text", "iquestcoder", "qwen2", "qwen2_5_omni_talker", "qwen2_5_omni_text"}
            | {"qwen2_5_vl_text", "qwen2_moe", "qwen2_vl_text", "qwen3", "qwen3_moe", "smollm3"}
        ),
        **dict.fromkeys(("attn_use_rope", "mla_use_nope", "use_rope"), frozenset[str]()),
    }
)
"""Switches -> the families of the library that read them; elsewhere in it they change nothing."""

NEVER_ROTATE = frozenset({"kimi_linear"})
"""Families that state rope keys and have no rotary code."""

ROTATE_UNSTATED = frozenset({"blt", "clvp_encoder", "dia", "recurrent_gemma", "roformer"})
"""Families that rotate, and whose configs say nothing of it that we read."""

ROTATE_WITHIN_WINDOWS = frozenset({"afmoe", "cohere2", "cohere2_moe", "flint"})
"""Families whose layers with a window rotate, and whose other layers do not."""

ROTATE_WITHOUT_WINDOWS_TOO = frozenset(
    {"exaone4", "exaone4_5_text", "exaone_moe", "kolibri1", "kolibri1_text"}
)
"""The same, but for models in which no layer has a window: there all rotate."""

ROTARY_DIM_UNREAD = frozenset({"minimax_m3_vl_text"})
"""Families that state rotary_dim and turn the whole head all the same."""

POWER_SCALE: Mapping[str, tuple[float, float]] = MappingProxyType({"beam": (2048.0, 0.1)})
"""Families whose layers without rotation scale their logits by (1 + (m + 1) / F)^slope, which no
key states: F and slope."""

KEY_HEADS_TWICE_IN_WINDOWS = frozenset({"mimo_v2_flash"})
"""Families whose layers with a window have twice the key heads, unless the config states them."""

ATTENDS_TWICE_A_LAYER = frozenset({"longcat_flash"})
"""Families whose num_layers counts blocks of two attention layers."""

BOTH_WAYS = frozenset(
    {"esm", "esmc", "eurobert", "gte", "jina_embeddings_v3", "modernbert", "modernvbert", "neomme"}
    | {"new", "nomic_bert", "ultrabert", "ultravbert"}
)
"""Families that rotate and whose rows see what comes after them."""

NOT_EXTENDED = frozenset(
    {"axk2", "codegen", "deepseek_v32", "doge", "dots3_note_text", "falcon", "glm_moe_dsa"}
    | {"gpt_neox_japanese", "gptj", "hy_v4"}
)
"""Families whose code has an attention of its own, which no extension reaches.

Source: docs/results/families.json, where ``extend`` refuses them.
"""

WITHOUT_CLASS = frozenset(
    {"aquila", "baichuan", "chatglm", "hunyuan", "internlm", "internlm2", "kimi_k2", "mimo", "new"}
    | {"nemotron-nas", "phi3small", "qwen", "stablelm_epoch", "telechat", "xverse"}
)
"""Families that no release of transformers has a class for: remote code, which is not run."""

MODEL_MAX_LENGTH = frozenset({"cohere"})
"""Families that admit model_max_length, where they state it, rather than max_position_embeddings.

Source: vLLM 0.33.0 and SGLang 0.5.23, models/commandr.py.
"""

_WINDOW_ON_REQUEST = ("qwen2", "qwen3", "smollm3")
_INTERLEAVED = re.compile(
    "codegen|cohere|cohere2|cohere2_moe|deepseek_v2|deepseek_v3|deepseek_v32|ernie4_5|"
    "ernie4_5_moe|glm|glm4|glm4_moe_lite|glm_moe_dsa|gptj|helium|llama4|llama4_text|"
    "longcat_flash|mistral4|roformer"
)
_THETA: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("bitnet", "cohere", "csm", "ernie4_5", "ernie4_5_moe"), 5e5),
        **dict.fromkeys(("flex_olmo", "llama4_text", "mllama_text_model", "olmo3"), 5e5),
        **dict.fromkeys(("cwm", "emu3", "gemma3_text", "gemma3n_text", "lfm2", "lfm2_moe"), 1e6),
        **dict.fromkeys(("minimax", "mixtral", "phimoe", "qwen2_vl_text", "qwen2_5_vl_text"), 1e6),
        **{"apertus": 1.2e7, "gpt_oss": 1.5e5, "helium": 1e5, "nomic_bert": 1e3, "smollm3": 2e6},
    }
)


def pairing(model_type: str) -> Pairing:
    """Which channels turn together where ``rope_interleave`` is not stated."""
    return "half" if _INTERLEAVED.fullmatch(model_type) is None else "interleaved"


def theta(model_type: str) -> float:
    """The base where the config states none."""
    return _THETA.get(model_type, 10_000.0)


def slides_unasked(model_type: str) -> bool:
    """Whether a stated sliding_window is in force without use_sliding_window."""
    return not model_type.startswith(_WINDOW_ON_REQUEST)
