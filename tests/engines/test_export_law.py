"""Whatever the family: an export is what the engine then computes, and the model's audit reads no
worse for it; else it is refused in words."""

import shlex

import pytest
import torch

import ropewalk as rw
from no_worse import errors, written
from recipes.population.library import NotBuilt, default_config, model_types
from ropewalk.engines.llama_cpp.flags import llama_cpp_with_flags
from ropewalk.engines.reading import Reading
from ropewalk.methods.from_config import native_encoding
from ropewalk.opening.shapes import shape_of

TYPES = model_types()
ENGINES = ("transformers", "vllm", "sglang", "llama.cpp")
ONE_MAP = (
    *("native", "linear:factor=4", "ntk_aware:factor=4", "abf:rope_theta=5e6", "yarn:factor=4"),
    *("ntk_by_parts:factor=4", "llama3:factor=4", "proportional:partial_rotary_factor=0.5"),
    *("clipped", "resonance"),
)


def exported(config, spec, engine):
    """Whether the method was exported: then it came back, and nothing is worse."""
    try:
        document = rw.export(config, spec, engine)
    except rw.RopewalkError:
        return False
    length = document["length"]
    after = written(config, engine, document)
    if engine == "llama.cpp":
        words = shlex.split(document["command"])
        answer = llama_cpp_with_flags(Reading.of(shape_of(config)), words).answer
        found, magnitude = answer.inv_freq, answer.attention_factor
    else:
        answer = rw.audit(after, length)["engines"][engine]
        found, magnitude = answer["inv_freq"], answer["attention_factor"]
        assert errors(after, engine, length) <= errors(config, engine, length)
    section = shape_of(config).rope()
    native, geometry = native_encoding(section), section.geometry()
    encoding = native if spec == "native" else rw.encoding(spec, geometry)
    at = encoding.settled_length or max(length, geometry.trained_length)
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64),
        encoding.frequencies.inv_freq(at),
        rtol=1e-5 if engine == "llama.cpp" else 2e-6,
        atol=2e-20,
    )
    assert magnitude == pytest.approx(encoding.frequencies.attention_factor(at), rel=1e-6)
    return True


def every_method(model_type):
    try:
        config = default_config(model_type)
        rw.inspect(config)
    except (NotBuilt, rw.RopewalkError):
        return {}
    return {
        (spec, engine): exported(config, spec, engine) for spec in ONE_MAP for engine in ENGINES
    }


@pytest.mark.parametrize("model_type", ["llama", "gemma3", "glm4", "phi3", "mimo_v2_flash"])
def test_a_method_comes_back_or_is_refused(model_type):
    assert any(every_method(model_type).values())


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
def test_a_method_of_any_family_comes_back_or_is_refused(model_type):
    every_method(model_type)
