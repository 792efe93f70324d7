"""Configs that tests export a method over, and what engines make of what was exported."""

import json
import shlex

from readings import answer_of, reading_of
from ropewalk.engines.llama_cpp.flags import llama_cpp_with_flags
from ropewalk.engines.words import value_of

L0, LONG = 32768, 131072


QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "num_hidden_layers": 28,
    "max_position_embeddings": L0,
    "rope_theta": 1e6,
}


SHORT_LIST = [1.0 + i / 64 for i in range(64)]


LONG_LIST = [1.0 + i / 8 for i in range(64)]


def applied(config, document):
    """The config under a document's keys: replaced, or for SGLang merged into the rope dict."""
    keys = dict(document["config"])
    if document["command"]:
        flag = {"vllm": "--hf-overrides", "sglang": "--json-model-override-args"}
        words = shlex.split(document["command"])
        text = value_of(words, flag.get(document["engine"], "no flag"))
        assert (json.loads(text) if text else {}) == keys
    if document["engine"] == "sglang" and "rope_parameters" in keys:
        old = config.get("rope_scaling") or config.get("rope_parameters") or {}
        keys["rope_parameters"] = {**old, **keys["rope_parameters"]}
    gone = {"rope_scaling"} if "rope_parameters" in keys else set()
    return {**{k: v for k, v in config.items() if k not in gone}, **keys}


def answered(config, document, length):
    """(answer, admitted tokens) of the engine under what was exported."""
    if document["engine"] == "llama.cpp":
        words = shlex.split(document["command"])
        back = llama_cpp_with_flags(reading_of(config), words)
        return back.answer, back.trained_context
    answer = answer_of(document["engine"], applied(config, document), length, None)
    return answer, answer.max_length
