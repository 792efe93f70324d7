"""GGUF headers against what llama.cpp makes of them (0c1e57098, llama-model.cpp)."""

import math

import pytest

from readings import inspect_config, kv_cache
from ropewalk.configs.attention import Full, Sliding
from ropewalk.configs.gguf import GGUFHeader, config_of, dropped_scaling, read_header
from ropewalk.configs.shape import read_model
from ropewalk.configs.unknown import known
from ropewalk.core.errors import RopewalkError

SIZES = {
    "context_length": 128,
    "embedding_length": 64,
    "block_count": 2,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
}
FREQS = (1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 8.0)


def header(architecture="llama", factors=None, **fields):
    names = {name.replace("__", "."): value for name, value in fields.items()}
    return GGUFHeader(
        architecture=architecture, fields={**SIZES, **names}, factors={**(factors or {})}
    )


def inspected(*given, **fields):
    return inspect_config(config_of(header(*given, **fields)))


def test_sizes_and_an_unstated_base():
    """Heads of 64 / 4 channels, a base of 10,000, two key heads in each of two layers."""
    config = config_of(header("qwen2"))
    document = inspect_config(config)
    assert (document["head_dim"], document["rope_theta"]) == (16, 10_000.0)
    assert document["trained_length"] == 128
    assert kv_cache(config, 128, dtype="int8")["bytes"] == 128 * 2 * (2 * 2 * 16)


@pytest.mark.parametrize(
    "fields",
    [
        {"rope__scale_linear": 4.0},
        {"rope__scaling__factor": 4.0},
        {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0},
    ],
)
def test_a_factor_without_a_type_is_linear(fields):
    assert inspected(**fields)["inv_freq"][1] == pytest.approx(10_000 ** (-2 / 16) / 4, rel=1e-12)


def test_part_of_the_channels_turns():
    """Phi-4-mini: 3 of 4 channels, without the tensors of factors (llama.cpp issue 24820)."""
    document = inspected("phi3", rope__dimension_count=12)
    assert document["rotary_dim"] == 12
    assert document["inv_freq"][1] == pytest.approx(10_000 ** (-2 / 12), rel=1e-12)


def test_yarn_with_the_length_that_it_refers_to():
    fields = {"type": "yarn", "factor": 4.0, "original_context_length": 32}
    document = inspected("qwen2", **{f"rope__scaling__{k}": v for k, v in fields.items()})
    assert document["trained_length"] == 32
    assert document["attention_factor"] == pytest.approx(1 + 0.1 * math.log(4), rel=1e-12)
    own = {"rope__scaling__attn_factor": 1.5}
    document = inspected("qwen2", **own, **{f"rope__scaling__{k}": v for k, v in fields.items()})
    assert document["attention_factor"] == pytest.approx(1.5 * (1 + 0.1 * math.log(4)), rel=1e-12)


def test_divisors_of_llama_3_are_a_tensor():
    document = inspected(factors={"rope_freqs": FREQS}, rope__freq_base=5e5)
    expected = [5e5 ** (-2 * i / 16) / divisor for i, divisor in enumerate(FREQS)]
    assert document["inv_freq"] == pytest.approx(expected, rel=1e-12)
    assert document["attention_factor"] == 1.0


def test_longrope_has_two_lists_and_a_magnitude():
    factors = {"rope_factors_short": (1.0,) * 8, "rope_factors_long": (2.0,) * 8}
    fields = {"type": "longrope", "original_context_length": 64, "attn_factor": 1.19}
    found = header("phi3", factors, **{f"rope__scaling__{k}": v for k, v in fields.items()})
    short, long = (
        inspect_config(config_of(found), context_length=length)["inv_freq"] for length in (64, 128)
    )
    assert (short[0], long[0]) == (1.0, 0.5)
    assert inspect_config(config_of(found))["attention_factor"] == pytest.approx(1.19, rel=1e-12)


def test_gemma_3_turns_windows_by_a_base_of_its_own():
    fields = {"attention__key_length": 16, "attention__sliding_window": 32, "block_count": 12}
    kinds = known(read_model(config_of(header("gemma3", rope__freq_base=1e6, **fields))).kinds)
    assert [kind.attention for kind in kinds] == [Sliding(32), Full()]
    assert [known(kind.rope).rope_theta for kind in kinds] == [1e4, 1e6]


def test_windows_are_told_for_each_layer():
    fields = {"attention__sliding_window": 32, "attention__sliding_window_pattern": [True, False]}
    kinds = known(read_model(config_of(header(**fields))).kinds)
    assert [kind.attention for kind in kinds] == [Sliding(32), Full()]


def test_latent_attention():
    """DeepSeek-V3: 512 latent and 64 rotary numbers a token."""
    fields = {"kv_lora_rank": 512, "key_length": 576, "key_length_mla": 192}
    named = {f"attention__{k}": v for k, v in fields.items()}
    shape = read_model(config_of(header("deepseek2", rope__dimension_count=64, **named)))
    assert known(known(shape.kinds)[0].cache).numbers_per_token == 512 + 64
    assert shape.rope().softmax_scale == pytest.approx(192**-0.5, rel=1e-15)


@pytest.mark.parametrize(
    ("given_here", "said"),
    [
        ({"architecture": "grok", "rope__scaling__yarn_ext_factor": 0.5}, "yarn_ext_factor"),
        ({"rope__scaling__wavelets": 1.5}, "wavelets"),
        ({"rope__scaling__type": "wavelets"}, "wavelets"),
        ({"rope__scaling__factor": "four"}, "factor"),
        (
            {
                "factors": {"rope_freqs": FREQS},
                **{"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0},
            },
            "rope_freqs",
        ),
    ],
)
def test_what_is_not_understood_is_refused(given_here, said):
    with pytest.raises(RopewalkError, match=said):
        config_of(header(**given_here))


def test_a_factor_and_a_tensor_of_divisors_multiply():
    """The kernel divides by the tensor and scales by the factor (ggml_rope_yarn)."""
    document = inspected(factors={"rope_freqs": FREQS}, rope__scaling__factor=4.0)
    expected = [1e4 ** (-2 * i / 16) / divisor / 4 for i, divisor in enumerate(FREQS)]
    assert document["inv_freq"] == pytest.approx(expected, rel=1e-12)


def test_an_attention_factor_multiplies_under_every_type():
    document = inspected(rope__scaling__attn_factor=1.5)
    assert document["attention_factor"] == 1.5
    assert document["inv_freq"][1] == pytest.approx(1e4 ** (-2 / 16), rel=1e-12)


def test_lists_of_phi_3_need_no_type():
    """Its converter writes none (conversion/phi.py)."""
    factors = {"rope_factors_short": (1.0,) * 8, "rope_factors_long": (2.0,) * 8}
    fields = {"rope__scaling__original_context_length": 64, "rope__scaling__attn_factor": 1.19}
    found = config_of(header("phi3", factors, **fields))
    assert inspect_config(found, context_length=128)["inv_freq"][0] == 0.5
    assert inspect_config(found)["attention_factor"] == pytest.approx(1.19, rel=1e-12)


def test_scaling_that_transformers_drops_is_named():
    assert dropped_scaling(header(rope__scale_linear=4.0)) == "rope.scale_linear 4"
    assert dropped_scaling(header(rope__scaling__factor=4.0)) == "rope.scaling.factor 4"
    assert dropped_scaling(header(rope__scaling__attn_factor=1.5)) == "rope.scaling.attn_factor 1.5"
    assert dropped_scaling(header()) is None
    assert dropped_scaling(header(rope__scaling__type="none")) is None
    assert dropped_scaling(header(rope__scaling__type="yarn")) == "yarn"
    assert dropped_scaling(header("gpt-oss", rope__scaling__type="yarn")) is None
    assert dropped_scaling(header(factors={"rope_freqs": FREQS})) == "rope_freqs.weight"


def test_a_header_is_read_from_its_file(tmp_path):
    gguf = pytest.importorskip("gguf")
    import numpy as np

    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_rope_freq_base(5e5)
    writer.add_tensor("rope_freqs.weight", np.asarray(FREQS, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_header(path)
    assert found.architecture == "llama"
    assert (found.fields["context_length"], found.fields["rope.freq_base"]) == (128, 5e5)
    assert found.factors == {"rope_freqs": FREQS}
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RopewalkError, match="header cannot be read"):
        read_header(path)
