"""The header that Ollama's own converter writes for a safetensors folder.

A converter names the keys that it reads, most of them as they were spelled before transformers 5;
what it does not name is 0, and a 0 may be written.

Source: Ollama 0.32.15, convert/convert.go (LoadModelMetadata).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.gguf import GGUFHeader
from ropewalk.engines.ollama import llama_gemma, others
from ropewalk.engines.ollama.go_json import Json
from ropewalk.engines.reading import EngineRaises

Convert = Callable[[Json], GGUFHeader]


def architecture_of(config: Mapping[str, Any]) -> str:
    """The first of ``architectures`` of the whole config, or nothing."""
    listed = config.get("architectures")
    return str(listed[0]) if isinstance(listed, list | tuple) and listed else ""


def converted(config: Mapping[str, Any]) -> GGUFHeader:
    """EngineRaises for an architecture without a converter, and where the converter fails."""
    name = architecture_of(config)
    if name not in CONVERTERS:
        raise EngineRaises(f'unsupported architecture "{name:.60}"')
    return CONVERTERS[name](Json(config))


CONVERTERS: Mapping[str, Convert] = MappingProxyType(
    {
        "LlamaForCausalLM": llama_gemma.llama,
        "MixtralForCausalLM": llama_gemma.llama,
        "Llama4ForConditionalGeneration": llama_gemma.llama4,
        "Mistral3ForConditionalGeneration": lambda json: llama_gemma.mistral3(
            json.inner("text_config")
        ),
        "Ministral3ForCausalLM": llama_gemma.mistral3,
        "GemmaForCausalLM": llama_gemma.plain("gemma"),
        "Gemma2ForCausalLM": llama_gemma.plain("gemma2"),
        "Gemma3ForCausalLM": llama_gemma.gemma3,
        "Gemma3ForConditionalGeneration": llama_gemma.gemma3_of_images,
        "Gemma3nForConditionalGeneration": llama_gemma.gemma3n,
        "Gemma4ForCausalLM": llama_gemma.gemma4,
        "Gemma4ForConditionalGeneration": llama_gemma.gemma4,
        "Phi3ForCausalLM": others.phi3,
        "Qwen2ForCausalLM": others.qwen2,
        "Qwen2_5_VLForConditionalGeneration": lambda json: others.qwen2(json, "qwen2vl"),
        "Qwen3VLForConditionalGeneration": others.qwen3_vl,
        "Qwen3VLMoeForConditionalGeneration": others.qwen3_vl,
        "Olmo3ForCausalLM": others.olmo3,
        "NomicBertModel": others.nomic,
        "CohereForCausalLM": others.command_r,
        "GptOssForCausalLM": others.gpt_oss,
        "DeepseekV3ForCausalLM": others.deepseek_v3,
        "Glm4MoeLiteForCausalLM": others.glm4_moe_lite,
        "Lfm2ForCausalLM": others.lfm2,
        "Lfm2MoeForCausalLM": others.lfm2,
        "Qwen3NextForCausalLM": others.qwen3_next,
        "Qwen3_5ForConditionalGeneration": others.qwen3_next,
        "Qwen3_5MoeForConditionalGeneration": others.qwen3_next,
    }
)
"""By the first of ``architectures``."""
NOT_READ = frozenset(
    {"BertModel", "DeepseekOCRForCausalLM", "Gemma3TextModel", "GlmOcrForConditionalGeneration"}
    | {"LagunaForCausalLM", "Lfm2VlForConditionalGeneration", "MllamaForConditionalGeneration"}
    | {"NemotronHForCausalLM", "NemotronH_Nano_Omni_Reasoning_V3", "NemotronH_Nano_VL_V2"}
    | {"NomicBertMoEModel"}
)
"""Architectures with a converter that has no rule here."""
