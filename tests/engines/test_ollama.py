"""Ollama: the header that its own converter writes, and what its llama.cpp makes of it.

Headers are those of Ollama 0.32.15, convert/testdata; the rest is worked out from its Go code.
"""

import math

import pytest

import ropewalk as rw
from ropewalk.engines.ollama.converters import converted

SIZES = {
    **{"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"num_hidden_layers": 32, "max_position_embeddings": 32768},
}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SIZES}
QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **SIZES}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32768}


def plain(base, pairs=64):
    return [base ** (-i / pairs) for i in range(pairs)]


def ollama(config, length=None):
    return rw.audit(config, length)["readers"]["ollama"]


def ids(answer):
    return {finding["id"] for finding in answer["findings"]}


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (
            {**LLAMA, "max_position_embeddings": 8192, "rope_theta": 500000.0},
            {"context_length": 8192, "rope.dimension_count": 128, "rope.freq_base": 500000},
        ),
        (
            {
                **{
                    "architectures": ["Phi3ForCausalLM"],
                    "hidden_size": 3072,
                    "rope_theta": 10000.0,
                },
                **{"num_attention_heads": 32, "max_position_embeddings": 131072},
                "original_max_position_embeddings": 4096,
                "rope_scaling": {
                    **{"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
                },
            },
            {
                **{"rope.dimension_count": 96, "rope.freq_base": 10000, "context_length": 131072},
                "rope.scaling.original_context_length": 4096,
                "rope.scaling.attn_factor": 1.1902381,
            },
        ),
        (
            {
                **{"architectures": ["CohereForCausalLM"], "rope_theta": 8000000.0, **SIZES},
                **{"max_position_embeddings": 8192, "model_max_length": 131072},
            },
            {
                **{"context_length": 131072, "rope.freq_base": 8e6},
                "rope.scaling.type": "none",
            },
        ),
        (
            {**QWEN2, "rope_theta": 1000000.0},
            {"context_length": 32768, "rope.freq_base": 1e6},
        ),
    ],
    ids=["llama-3", "phi-3", "command-r", "qwen-2.5"],
)
def test_headers_are_those_of_its_own_test_data(config, fields):
    written = converted(config).fields
    assert {key: written[key] for key in fields} == pytest.approx(fields)


def test_what_both_read_is_the_same():
    answer = ollama({**LLAMA, "rope_theta": 500000.0})
    assert answer["inv_freq"] == pytest.approx(plain(500000.0), rel=1e-5)
    assert answer["version"] == "0.32.15"
    assert ids(answer) == {"num-ctx"}


def test_llama_3_is_baked_into_a_tensor():
    rope = {
        **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "original_max_position_embeddings": 8192,
    }
    answer = ollama({**LLAMA, "rope_theta": 500000.0, "rope_scaling": rope})
    assert answer["inv_freq"][34] == pytest.approx(0.000178507791, rel=1e-5)
    assert answer["inv_freq"][63] == pytest.approx(3.06892598891451e-07, rel=1e-5)


@pytest.mark.parametrize("spelled", ["rope_type", "type"])
def test_yarn_of_a_llama_is_dropped(spelled):
    answer = ollama({**LLAMA, "rope_theta": 1e6, "rope_scaling": {spelled: "yarn", **YARN}})
    assert answer["inv_freq"] == pytest.approx(plain(1e6), rel=1e-5)
    assert answer["attention_factor"] == 1.0
    assert {"reader-frequencies", "reader-factor"} <= ids(answer)


@pytest.mark.parametrize(("spelled", "divisor"), [("type", 4.0), ("rope_type", 1.0)])
def test_linear_counts_under_its_old_key_alone(spelled, divisor):
    answer = ollama(
        {**LLAMA, "rope_theta": 1e6, "rope_scaling": {spelled: "linear", "factor": 4.0}}
    )
    expected = [theta / divisor for theta in plain(1e6)]
    assert answer["inv_freq"] == pytest.approx(expected, rel=1e-5)


def test_yarn_of_qwen_2_ends_the_conversion():
    """Its factor is declared as a list of numbers."""
    answer = ollama({**QWEN2, "rope_theta": 1e6, "rope_scaling": {"type": "yarn", **YARN}})
    assert answer["error"].startswith("json: cannot unmarshal number into Go struct field factor")
    assert "reader-raises" in ids(answer)


def test_a_base_inside_rope_parameters_is_lost():
    rope = {"rope_type": "default", "rope_theta": 1e6}
    llama = ollama({**LLAMA, "rope_parameters": rope})
    assert llama["inv_freq"] == pytest.approx(plain(1e4), rel=1e-5)
    assert "reader-base" in ids(llama)
    assert ollama({**QWEN2, "rope_parameters": rope})["error"].startswith("not a rotation")


def test_the_text_section_of_gemma_3_is_not_read():
    """Base and scaling are what its llama.cpp puts into files of 131,072 tokens."""
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34}
    config = {
        **{"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]},
        "text_config": {**text, "rope_theta": 5e5, "rope_scaling": None},
    }
    answer = ollama(config)
    assert answer["inv_freq"] == pytest.approx([t / 8 for t in plain(1e6, 128)], rel=1e-5)


def test_num_ctx_is_capped_without_a_word():
    config = {**LLAMA, "rope_theta": 500000.0}
    assert ids(ollama(config, 65536)) == {"num-ctx"}
    (finding,) = ollama(config, 65536)["findings"]
    assert "num_ctx 65,536 is lowered to the file's 32,768" in finding["message"]
    assert ids(ollama(config, 32768)) == set()
    (unset,) = ollama(config)["findings"]
    assert unset["severity"] == "info"
    assert unset["remedy"] == "PARAMETER num_ctx 32768"


def test_a_model_without_a_converter_is_not_answered_for():
    answer = ollama({**QWEN2, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]})
    assert answer["error"] == 'unsupported architecture "Qwen3ForCausalLM"'
    assert answer["inv_freq"] is None
    (finding,) = answer["findings"]
    assert (finding["severity"], "FROM model.gguf" in finding["remedy"]) == ("warning", True)


def test_lists_of_phi_3_are_chosen_by_the_context():
    """No type is written, and the architecture reads its lists all the same."""
    short, long = [1.0 + i / 48 for i in range(48)], [2.0 + i for i in range(48)]
    config = {
        **{"model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "rope_theta": 1e4},
        **{"hidden_size": 3072, "num_attention_heads": 32, "num_hidden_layers": 32},
        **{"max_position_embeddings": 131072, "original_max_position_embeddings": 4096},
        "rope_scaling": {"type": "longrope", "short_factor": short, "long_factor": long},
    }
    for length, divisors in ((4096, short), (8192, long)):
        expected = [t / d for t, d in zip(plain(1e4, 48), divisors, strict=True)]
        answer = ollama(config, length)
        assert answer["inv_freq"] == pytest.approx(expected, rel=1e-5)
        assert answer["attention_factor"] == pytest.approx(
            math.sqrt(1 + math.log(32) / math.log(4096)), rel=1e-6
        )
