"""What a config becomes in llama.cpp's file, beside what its converter wrote when it was run.

tests/goldens/converted.json: llama.cpp 11434, conversion/*.py, set_gguf_parameters and
generate_extra_tensors of the class for the architecture, on transformers' default config of each
model type as it is and under a rope dict of each kind.
"""

import copy
import json
from pathlib import Path

import pytest

import ropewalk as rw
from recipes.population.library import default_config
from ropewalk.configs.shape import read_model
from ropewalk.engines.llama_cpp.converter import OWN_BASE, as_converted, drops_base, drops_type
from ropewalk.engines.llama_cpp.flags import is_baked
from ropewalk.engines.reading import EngineRaises, Reading

CONVERTED = json.loads(
    (Path(__file__).parents[1] / "goldens" / "converted.json").read_text(encoding="utf-8")
)
FAMILIES = tuple(sorted(set(CONVERTED) - {"about"}))
SCALED = {"factor": 4.0, "original_max_position_embeddings": 1024}
KINDS = {
    "plain": {},
    "base": {"rope_theta": 54321.0},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "yarn": {"rope_type": "yarn", **SCALED},
    "llama3": {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **SCALED},
    "longrope": {"rope_type": "longrope", **SCALED},
}
UNLOADED = ("smollm3", "llama3")
"""Converts to a file whose tensor its graph does not take."""
LISTS = ["rope_factors_long", "rope_factors_short"]


def config_of(family, kind):
    config = default_config(family)
    config = {**copy.deepcopy(config), "architectures": [CONVERTED[family]["architecture"]]}
    text = config.get("text_config") or config
    if kind == "plain":
        return config
    keys = dict(KINDS[kind])
    if kind == "longrope":
        pairs = len(rw.inspect(config)["inv_freq"])
        keys["short_factor"] = [1.0 + i / 64 for i in range(pairs)]
        keys["long_factor"] = [2.0 + i for i in range(pairs)]
    rope = text["rope_parameters"]
    inner = rope.get("full_attention", rope)
    inner.update(keys)
    return config


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_states_what_the_converter_wrote(family):
    for kind, written in CONVERTED[family]["rows"].items():
        reading = Reading.of(read_model(config_of(family, kind)))
        if isinstance(written, str) or (family, kind) == UNLOADED:
            with pytest.raises(EngineRaises):
                as_converted(reading)
            continue
        converted = as_converted(reading)
        channels, base, scaling, factor, tensors = written
        section = converted.section
        assert section.rope_theta == pytest.approx(base or OWN_BASE), kind
        if channels is not None:
            assert len(section.geometry().inv_freq()) * 2 == channels, kind
        states = section.rope_type if section.rope_type in ("linear", "yarn") else None
        if scaling in ("linear", "yarn") and factor != 1.0:
            assert (states, section.number("factor")) == (scaling, factor), kind
        else:
            assert states is None, (kind, scaling)
        assert is_baked(converted) == bool(tensors), (kind, tensors)
        assert (tensors == LISTS) == (is_baked(converted) and section.rope_type == "longrope")


def test_what_is_lost_is_found():
    """Each type and base that a file does not state is a finding, and no other is."""
    for family in ("qwen2", "llama", "gemma2", "phi3", "cohere", "nemotron", "stablelm"):
        for kind in ("base", "linear", "yarn", "llama3"):
            config = config_of(family, kind)
            reading = Reading.of(read_model(config))
            found = {f["id"] for f in rw.audit(config)["findings"]}
            assert ("base-dropped" in found) == drops_base(reading), (family, kind)
            dropped = kind != "base" and drops_type(reading)
            assert ("type-dropped" in found) == dropped, (family, kind)


def test_an_architecture_without_a_class_is_said():
    config = config_of("qwen2", "plain") | {"architectures": ["Qwen2ForTokenClassification"]}
    document = rw.audit(config)
    assert document["engines"]["llama.cpp"]["error"].endswith("not supported!")
    assert "cannot-load" in {finding["id"] for finding in document["findings"]}
