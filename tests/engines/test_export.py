"""What is exported is what the engine then computes."""

import json

import pytest
import torch
from export_configs import L0, LONG, QWEN, answered, applied

import ropewalk as rw
from readings import encoding_from_config, read_rope_section
from representative import PARAMETERS
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.table import ENGINES
from ropewalk.engines.words import value_of

ALL = frozenset(ENGINES)


BUT_LLAMA = ALL - {"llama.cpp"}


HF = frozenset({"transformers"})


NOWHERE: frozenset[str] = frozenset()


EXPRESSED = {
    "native": ALL,
    "none": ALL,
    "linear:factor=4": ALL,
    "ntk_aware:factor=4": ALL,
    "abf:rope_theta=5e6": ALL,
    "dynamic_ntk": NOWHERE,
    "dynamic_ntk:step=32": NOWHERE,
    f"dynamic_ntk:policy=fixed,length={LONG}": ALL,
    "dynamic_ntk:factor=4,policy=whole_sequence": HF,
    "dynamic_ntk:policy=at_birth": HF,
    "ntk_by_parts:factor=4": ALL,
    "ntk_by_parts:factor=4,ramp=paper": BUT_LLAMA,
    "ntk_by_parts:factor=4,truncate=false": BUT_LLAMA,
    "yarn:factor=4": ALL,
    "yarn:factor=3.3": ALL,
    "yarn:factor=4,beta_fast=16,beta_slow=2": ALL,
    "yarn:factor=4,attention_factor=1.0": ALL,
    "yarn:factor=4,attention_factor=0.7": ALL,
    "yarn:factor=4,mscale=1,mscale_all_dim=0.707": ALL,
    "yarn:factor=4,truncate=false": BUT_LLAMA,
    "yarn:factor=4,ramp=paper": BUT_LLAMA,
    "dynamic_yarn": NOWHERE,
    f"dynamic_yarn:policy=fixed,length={LONG}": ALL,
    f"dynamic_yarn:policy=fixed,length={L0}": ALL,
    f"dynamic_yarn:policy=fixed,length={LONG},ramp=paper": BUT_LLAMA,
    "dynamic_yarn:policy=whole_sequence": NOWHERE,
    "llama3:factor=4": BUT_LLAMA,
    "longrope:LISTS,factor=4": NOWHERE,
    f"longrope:LISTS,factor=4,policy=fixed,length={LONG}": BUT_LLAMA,
    f"longrope:LISTS,factor=4,policy=fixed,length={LONG},attention_factor=1.5": BUT_LLAMA,
    "longrope:LISTS,factor=4,policy=whole_sequence": HF,
    f"longrope:LISTS,factor=4,policy=fixed,length={LONG},start_tokens=4": NOWHERE,
    "proportional:partial_rotary_factor=0.5": BUT_LLAMA,
    "proportional:partial_rotary_factor=0.5,factor=2": BUT_LLAMA,
    "clipped": BUT_LLAMA,
    "resonance": BUT_LLAMA,
    "yarn:factor=4+resonance": BUT_LLAMA,
    "yarn:factor=4+log_n": NOWHERE,
    "native+rerope": NOWHERE,
}
"""Spec -> the engines that can compute it. A method that is not here, none can."""


def spelled(name: str) -> str:
    """A spec of a method with the parameters that the laws give it."""
    given_here = [f"{key}={value}" for key, value in PARAMETERS.get(name, {}).items()]
    return f"{name}:{','.join(given_here)}" if given_here else name


NAMED = {spec.partition(":")[0] for spec in EXPRESSED}


OTHERS = {spelled(name): NOWHERE for name in rw.METHODS if name not in NAMED}


CASES = [
    pytest.param(spec, engine, engine in engines, id=f"{spec}-{engine}")
    for spec, engines in {**EXPRESSED, **OTHERS}.items()
    for engine in ENGINES
]


def asked(config, spec, length):
    """Frequencies and attention factor of a sequence of ``length`` tokens, from the method."""
    native = encoding_from_config(config)
    geometry = read_rope_section(config).geometry()
    encoding = native if spec == "native" else rw.encoding(spec, geometry)
    at = encoding.settled_length or max(length, geometry.trained_length)
    frequencies = encoding.frequencies
    return frequencies.inv_freq(at), frequencies.attention_factor(at)


@pytest.mark.parametrize(("spec", "engine", "expressed"), CASES)
def test_an_engine_computes_the_method_or_it_is_refused(spec, engine, expressed, lists):
    spec, length = lists(spec), 2 * L0 if "policy=whole" in spec or "birth" in spec else None
    if not expressed:
        with pytest.raises(RopewalkError, match="nearest") as refusal:
            rw.export(QWEN, spec, engine, length)
        assert str(refusal.value).startswith(spec)
        return
    document = rw.export(QWEN, spec, engine, length)
    answer, admitted = answered(QWEN, document, document["length"])
    theta, magnitude = asked(QWEN, spec, document["length"])
    # llama.cpp's kernel walks from pair to pair in float32: 64 steps of half an ulp twice.
    tolerance = 1e-5 if engine == "llama.cpp" else 2e-6
    found = torch.tensor(answer.inv_freq, dtype=torch.float64)
    # A pair that stands still may turn by less than float32 rounds, in all 2^40 tokens.
    torch.testing.assert_close(found, theta, rtol=tolerance, atol=2e-20)
    assert answer.attention_factor == pytest.approx(magnitude, rel=1e-6)
    listed = "longrope" in json.dumps(document["config"])
    is_vllm_longrope = engine == "vllm" and listed  # serves L unless asked for more
    if engine != "transformers" and not is_vllm_longrope:
        assert admitted >= document["length"]
    assert document["checked"]["inv_freq"] <= tolerance
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize(
    "spec",
    [spec for spec, engines in EXPRESSED.items() if "transformers" in engines],
)
def test_transformers_itself_computes_what_was_exported(spec, lists):
    """The library's own config class and rotary module, at the length exported."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    spec, config = lists(spec), {**QWEN, "model_type": "llama", "architectures": None}
    length = 2 * L0 if "policy=whole" in spec or "birth" in spec else None
    document = rw.export(config, spec, "transformers", length)
    keys = applied(config, document)
    keys.pop("architectures")
    module = LlamaRotaryEmbedding(LlamaConfig(**keys))
    cos, _ = module(torch.zeros(1), torch.tensor([[0, document["length"] - 1]]))
    theta, magnitude = asked(config, spec, document["length"])
    torch.testing.assert_close(module.inv_freq.double(), theta, rtol=2e-6, atol=2e-20)
    assert cos[0, 0, 0].item() == pytest.approx(magnitude, rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_length_asked_for_is_admitted(engine):
    document = rw.export(QWEN, "yarn:factor=4", engine, 100_000)
    assert document["length"] == 100_000
    assert answered(QWEN, document, 100_000)[1] >= 100_000
    wanted = {"vllm": "--max-model-len", "sglang": "--context-length", "llama.cpp": "-c"}
    if engine in wanted:
        assert value_of(document["flags"], wanted[engine]) == "100000"


def test_a_table_that_is_too_short_is_not_used():
    """YaRN's tables hold factor * L0 positions, those of lists max_position_embeddings."""
    rope = rw.export(QWEN, "yarn:factor=2", "vllm", LONG)["config"]["rope_parameters"]
    assert rope["rope_type"] == "longrope"
    sections = {**QWEN, "rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}}
    with pytest.raises(RopewalkError, match="rows, fewer"):  # lists have no class with sections
        rw.export(sections, "yarn:factor=2", "vllm", 8 * LONG)
