"""Names of architectures in GGUF files: the keys of a header begin with them."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError

_AS_LLAMA = ("llama", "mistral", "mixtral", "internlm3")
_SAME = (
    *("arcee", "apertus", "baichuan", "bitnet", "cohere2", "deepseek2", "exaone4", "falcon"),
    *("gemma", "gemma2", "gemma3", "gemma3n", "glm4", "granite", "internlm2", "jamba", "lfm2"),
    *("minicpm", "minicpm3", "mistral3", "nemotron", "olmo", "olmo2", "olmoe", "phi3", "phimoe"),
    *("qwen2", "qwen3", "seed_oss", "smollm3", "stablelm", "starcoder2", "ernie4_5", "laguna"),
)
_TEXT_MODELS = ("gemma3", "gemma3n", "gemma4")
"""Architectures that hold the text model of a multimodal one."""
_OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "cohere": "command-r",
        "deepseek_v2": "deepseek2",
        "deepseek_v3": "deepseek2",
        "gemma3_text": "gemma3",
        "gemma4": "gemma4",
        "gemma4_text": "gemma4",
        "gpt_neox": "gptneox",
        "gpt_oss": "gpt-oss",
        "granitemoe": "granitemoe",
        "hunyuan_v1_dense": "hunyuan-dense",
        "hunyuan_v1_moe": "hunyuan-moe",
        "llama4_text": "llama4",
        "ministral3": "mistral3",
        "nomic_bert": "nomic-bert",
        "olmo3": "olmo2",
        "phi": "phi2",
        "qwen2_moe": "qwen2moe",
        "qwen2_vl": "qwen2vl",
        "qwen2_5_vl": "qwen2vl",
        "qwen3_5_text": "qwen35",
        "qwen3_moe": "qwen3moe",
        "qwen3_next": "qwen3next",
    }
)


def gguf_architecture(model_type: str) -> str:
    """``general.architecture`` of a file converted from a config of that ``model_type``.

    Source: llama.cpp 0c1e57098, convert_hf_to_gguf.py; gguf 0.19.0, MODEL_ARCH_NAMES.

    Raises RopewalkError for a type that this table does not have.
    """
    if model_type in _AS_LLAMA:
        return "llama"
    if model_type in _SAME:
        return model_type
    if model_type in _OTHERS:
        return _OTHERS[model_type]
    raise RopewalkError(
        f"model_type={model_type or 'not stated'}: its name in GGUF files is not known, and this "
        "export needs --override-kv NAME.key; read general.architecture of the file"
    )


def model_type_of(architecture: str) -> str | None:
    """The ``model_type`` whose rotation a file of that architecture has, None where unknown.

    Several types share an architecture: the first in the table speaks for them.
    """
    if architecture in _TEXT_MODELS:
        return f"{architecture}_text"
    others = (name for name, theirs in _OTHERS.items() if theirs == architecture)
    return next(others, architecture if architecture in ("llama", *_SAME) else None)
