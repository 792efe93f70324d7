"""Each kind of finding, seen in a config that has it and not in one that has not."""

import pytest
from finding_configs import (
    ALL,
    BUT_SGLANG,
    CONFIGS,
    DEEPSEEK,
    DEFAULT,
    EXTENDED,
    INTERNLM,
    LLAMA,
    M4,
    NESTED_YARN,
    NOMIC,
    NOT_DEEPSEEKS,
    OLMO3,
    PHI3,
    PROPORTIONAL,
    QWEN,
    UNTRUNCATED,
    YARN,
    halved,
    longrope,
    nested,
    with_rope,
    yarn,
)

import ropewalk as rw
from ropewalk.engines.findings.table import FINDINGS

# (id, severity, engines, config, served length)
SEEN = [
    ("not-a-rotation", "error", ["vllm"], NOMIC, 512),
    ("integer-linear-factor", "error", ["vllm", "sglang"], CONFIGS["linear-int-factor"], None),
    ("zero-beta", "error", ["vllm", "sglang"], CONFIGS["yarn-beta-zero"], None),
    ("missing-key", "error", ALL[:3], CONFIGS["longrope-su-spelling"], None),
    ("missing-key", "error", ALL[:3], with_rope(INTERNLM, factor=None), None),
    ("unknown-type", "error", ["transformers", "sglang"], CONFIGS["ntk-vllm-type"], None),
    ("type-dropped", "error", ["llama.cpp"], CONFIGS["ntk-vllm-type"], None),
    ("base-dropped", "error", ["llama.cpp"], {**QWEN, "model_type": "stablelm"}, None),
    ("share-unstated", "error", ["llama.cpp"], {**QWEN, "model_type": "solar_open"}, None),
    ("null-head-dim", "error", ["transformers"], {**QWEN, "head_dim": None}, None),
    ("nested-dict-unhashable", "error", ["sglang"], {**OLMO3, "rope_scaling": YARN}, None),
    (
        "mrope-mscale",
        "error",
        ["sglang"],
        with_rope(QWEN, mrope_section=[16, 24, 24], mscale=1.0, mscale_all_dim=1.0),
        None,
    ),
    ("type-conflict", "error", ["vllm"], yarn(type="linear"), None),
    (
        "conversion-fails",
        "error",
        ["llama.cpp"],
        {**LLAMA, "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox"},
        None,
    ),
    (
        "engine-raises",
        "error",
        ["transformers", "vllm", "sglang"],
        {**LLAMA, "rope_scaling": {"rope_type": "dynamic", "factor": None, "beta": 1}},
        None,
    ),
    ("no-native-model", "warning", ["sglang"], NOMIC, 2048),
    ("dynamic-no-op", "error", ["vllm"], INTERNLM, None),
    ("dynamic-constant", "error", ["sglang"], INTERNLM, None),
    ("dynamic-dropped", "error", ["llama.cpp"], INTERNLM, None),
    ("dynamic-cache", "error", ["transformers"], INTERNLM, None),
    ("dynamic-below-trained", "error", ["vllm"], NOMIC, 1800),
    ("dynamic-alpha", "error", ["transformers", "llama.cpp"], with_rope(INTERNLM, alpha=2.0), None),
    (
        "dynamic-reference-length",
        "warning",
        ALL[:3],
        with_rope(INTERNLM, original_max_position_embeddings=8192),
        None,
    ),
    ("dynamic-release", "info", ["vllm"], INTERNLM, None),
    (
        "dynamic-shared-magnitude",
        "info",
        ["transformers"],
        nested({"full_attention": {**DEFAULT, "rope_type": "dynamic", "factor": 2.0}}),
        None,
    ),
    (
        "attention-factor-ignored",
        "error",
        ["sglang", "llama.cpp"],
        yarn(attention_factor=0.5),
        None,
    ),
    ("attention-factor-squared", "info", ALL[:2], yarn(attention_factor=0.5), None),
    ("attention-factor-integer", "info", ["transformers"], yarn(attention_factor=1), None),
    ("attn-factor", "error", BUT_SGLANG, CONFIGS["yarn-attn-factor-legacy"], None),
    ("attn-factor", "error", ["llama.cpp"], yarn(attn_factor=1 / M4, attention_factor=1.0), None),
    ("one-mscale", "info", ALL, yarn(mscale=0.5), None),
    ("one-mscale", "error", NOT_DEEPSEEKS, halved(mscale_all_dim=None), None),
    ("zero-mscale", "error", ["sglang"], yarn(mscale=0.0, mscale_all_dim=1.0), None),
    ("zero-mscale", "error", NOT_DEEPSEEKS, halved(mscale_all_dim=0.0), None),
    ("mscale-pair-ignored", "error", ["llama.cpp"], CONFIGS["yarn-mscale-mismatch"], None),
    ("mscale-pair-ignored", "error", ["llama.cpp"], CONFIGS["mla-mscale-mismatch"], None),
    ("softmax-scale", "error", ["sglang"], with_rope(DEEPSEEK, apply_yarn_scaling=False), None),
    ("attention-factor-switch", "error", ["vllm"], with_rope(DEEPSEEK, attention_factor=1.0), None),
    (
        "attention-factor-mla",
        "error",
        ["vllm", "sglang", "llama.cpp"],
        with_rope(DEEPSEEK, attention_factor=0.5),
        None,
    ),
    (
        "mla-forced-yarn",
        "error",
        ["vllm", "sglang"],
        with_rope(DEEPSEEK, type=None, rope_type="linear", factor=4.0),
        None,
    ),
    (
        "yarn-switches",
        "warning",
        ["transformers", "vllm", "llama.cpp"],
        yarn(extrapolation_factor=0.5),
        None,
    ),
    ("softmax-scale-release", "info", ["transformers"], CONFIGS["mla-deepseek-v2-lite"], None),
    ("context-shift", "info", ["llama.cpp"], yarn(), None),
    ("nested-truncate", "error", ["transformers"], nested(UNTRUNCATED), None),
    ("truncate-ignored", "error", ["llama.cpp"], CONFIGS["yarn-gpt-oss"], None),
    (
        "truncate-ignored",
        "error",
        ["vllm", "sglang", "llama.cpp"],
        CONFIGS["mla-truncate-false"],
        None,
    ),
    ("mrope-ramp", "error", ["vllm"], with_rope(QWEN, mrope_section=[16, 24, 24]), None),
    ("betas-ignored", "error", ["llama.cpp"], yarn(beta_fast=64.0), None),
    ("cut-offs-crossed", "warning", ALL[:3], yarn(beta_fast=1.0, beta_slow=64.0), None),
    ("factor-and-ratio", "warning", ["transformers"], yarn(factor=8.0), None),
    (
        "phimoe-short-list",
        "error",
        ["transformers"],
        longrope({**LLAMA, "model_type": "phimoe"}, short_mscale=1.2, long_mscale=1.2),
        None,
    ),
    ("longrope-without-lists", "error", ["llama.cpp"], longrope(), None),
    (
        "conversion-fails",
        "error",
        ["llama.cpp"],
        {**LLAMA, "model_type": "gpt_neox", "rotary_pct": 0.25, "rotary_emb_base": 10000},
        None,
    ),
    ("longrope-magnitude", "error", ALL, longrope(attention_factor=1.5), None),
    ("longrope-cache", "error", ["transformers"], longrope(), None),
    ("longrope-cache", "warning", ["transformers"], PHI3, None),
    ("longrope-choice", "warning", ALL, PHI3, None),
    ("longrope-off-by-one", "warning", ["sglang"], PHI3, None),
    ("longrope-default-length", "warning", ["vllm"], PHI3, None),
    (
        "rope-theta-lost",
        "error",
        ALL[:3],
        {
            **{k: v for k, v in EXTENDED.items() if k != "rope_theta"},
            "rope_scaling": YARN,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
        },
        None,
    ),
    (
        "olmo3-sliding-theta",
        "error",
        ["transformers", "vllm"],
        {**OLMO3, "max_position_embeddings": 32768, "rope_scaling": YARN},
        None,
    ),
    (
        "proportional-factor",
        "error",
        ["vllm", "sglang", "llama.cpp"],
        {**LLAMA, "rope_scaling": {**PROPORTIONAL, "factor": 2.0}},
        None,
    ),
    (
        "dual-chunk",
        "warning",
        ALL,
        {**LLAMA, "dual_chunk_attention_config": {"chunk_size": 8}},
        None,
    ),
    (
        "rope-theta-unstated",
        "warning",
        ALL,
        {**{k: v for k, v in EXTENDED.items() if k != "rope_theta"}, "rope_scaling": YARN},
        None,
    ),
    ("unread-key", "warning", ALL, yarn(finetuned=True), None),
    ("unread-key", "info", ["llama.cpp"], yarn(truncate=False), None),
    ("rope-theta-inside", "info", ["transformers", "vllm", "llama.cpp"], nested(NESTED_YARN), None),
    ("transformers-backend", "info", ["vllm"], CONFIGS["dynamic-alpha-hunyuan"], None),
    ("text-section", "info", ["vllm", "sglang"], CONFIGS["yarn-qwen35-vl"], None),
    ("query-temperature", "info", ["transformers"], CONFIGS["yarn-ministral3"], None),
    ("table-dtype", "info", ["vllm"], {**LLAMA, "torch_dtype": "bfloat16"}, None),
    ("short-table", "error", ["vllm"], INTERNLM, None),
    ("short-table", "error", ["vllm"], yarn(), 40000),
    ("length-refused", "error", ["vllm", "sglang", "llama.cpp"], QWEN, 131072),
    ("growth-unscaled", "error", ["sglang"], INTERNLM, 200000),
    ("length-not-extended", "warning", ["vllm", "sglang", "llama.cpp"], QWEN, None),
    ("length-multiplied", "warning", ["vllm", "sglang"], INTERNLM, None),
    (
        "original-length-missing",
        "warning",
        ALL,
        yarn(original_max_position_embeddings=None),
        None,
    ),
    (
        "original-length-beside",
        "warning",
        ALL,
        {**yarn(), "original_max_position_embeddings": 4096},
        None,
    ),
    (
        "original-length-beside",
        "warning",
        ALL,
        nested(NESTED_YARN, original_max_position_embeddings=4096),
        None,
    ),
    (
        "original-length-beside",
        "info",
        ALL,
        {
            **with_rope(yarn(), original_max_position_embeddings=None),
            "original_max_position_embeddings": 4096,
        },
        None,
    ),
    ("length-differs", "info", ALL, INTERNLM, None),
    ("converter-length", "info", ["llama.cpp"], CONFIGS["dynamic-alpha-hunyuan"], None),
    ("cannot-load", "error", ["transformers"], {**LLAMA, "model_type": "mimo"}, None),
    ("unread-switch", "warning", ["transformers"], {**LLAMA, "alibi": True}, None),
    (
        "dict-beside-section",
        "warning",
        ALL,
        {
            **{"model_type": "llava", "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
            "text_config": LLAMA,
        },
        None,
    ),
]


def cases():
    return [pytest.param(*case, id=f"{case[0]}-{i}") for i, case in enumerate(SEEN)]


@pytest.mark.parametrize(("kind", "severity", "engines", "config", "served"), cases())
def test_a_finding_is_seen_where_it_belongs(kind, severity, engines, config, served):
    found = [f for f in rw.audit(config, served)["findings"] if f["id"] == kind]
    assert [(f["severity"], f["engines"]) for f in found] == [(severity, engines)]
    assert found[0]["message"]
    assert found[0]["remedy"]


def test_every_kind_of_finding_has_a_config():
    assert {case[0] for case in SEEN} == {*FINDINGS}


@pytest.mark.parametrize(
    "config",
    [
        LLAMA,
        CONFIGS["default-smollm2"],
        CONFIGS["llama3-llama31"],
        yarn(),
        DEEPSEEK,
        {**LLAMA, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        CONFIGS["proportional-gemma4"],
    ],
    ids=["llama", "smollm2", "llama31", "yarn", "deepseek", "linear", "gemma4"],
)
def test_a_config_that_all_engines_read_alike_has_no_error(config):
    severities = {f["severity"] for f in rw.audit(config)["findings"]}
    assert "error" not in severities
