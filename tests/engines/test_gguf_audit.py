"""What llama.cpp makes of a GGUF file, from its header alone.

Expected values from src/llama-model.cpp (load_hparams), src/llama-context.cpp (rope scaling) and
the kernel's ggml_rope_yarn of llama.cpp 0c1e57098, written out here.
"""

import json
import math

import pytest

import gguf_files
import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.configs.gguf import read_header
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.llama_cpp.file import llama_cpp_file

pytest.importorskip("gguf")
WIDE, L = gguf_files.WIDTH, gguf_files.CONTEXT
SCALING = "rope.scaling."


@pytest.fixture
def audited(tmp_path):
    """The audit of a file with these fields."""

    def audit(architecture="llama", fields=None, factors=None, **asked):
        file = gguf_files.write(tmp_path / "file.gguf", architecture, fields, factors)
        return rw.audit(str(file), **asked)

    return audit


def speeds(theta=1e4, dim=WIDE, divisor=1.0):
    return [theta ** (-2 * i / dim) / divisor for i in range(dim // 2)]


def ids(document):
    return [finding["id"] for finding in document["findings"]]


def test_30_gguf_scale_linear(audited):
    """The deprecated key of linear scaling, which transformers does not know."""
    document = audited(fields={"rope.scale_linear": 4.0})
    found = document["engines"]
    assert found["llama.cpp"]["inv_freq"] == pytest.approx(speeds(divisor=4), rel=1e-5)
    assert found["transformers"]["inv_freq"] is None
    assert {"gguf-type-unstated", "gguf-dropped-elsewhere"} <= set(ids(document))


def test_32_gguf_phi3_partial_no_factors(audited):
    """llama.cpp issue 24820: Phi-4-mini from a config of transformers 5, without its lists."""
    fields = {"rope.dimension_count": 12}
    assert audited("phi3", fields)["engines"]["llama.cpp"]["inv_freq"] == pytest.approx(
        speeds(dim=12), rel=1e-5
    )
    config = {
        "model_type": "phi3",
        **{"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": L},
        "partial_rotary_factor": 0.75,
        "rope_scaling": {
            **{"type": "longrope", "short_factor": [1.0] * 6, "long_factor": [2.0] * 6},
            "original_max_position_embeddings": 32,
        },
    }
    (finding,) = (
        each
        for each in audited("phi3", fields, against=config)["findings"]
        if each["id"] == "lost-in-conversion"
    )
    assert "no rope_factors_short and rope_factors_long" in finding["message"]
    # sqrt(1 + ln(128 / 32) / ln 32), which the file does not have
    assert f"{math.sqrt(1 + math.log(4) / math.log(32)):.5g}" in finding["message"]
    assert finding["remedy"].startswith("convert again with llama.cpp")


def test_33_gguf_yarn(audited):
    fields = {f"{SCALING}type": "yarn", f"{SCALING}factor": 4.0}
    fields |= {f"{SCALING}original_context_length": 32, "rope.freq_base": 1e6}
    found = audited("qwen2", fields)["engines"]["llama.cpp"]

    def index(turns):
        return WIDE * math.log(32 / (turns * 2 * math.pi)) / (2 * math.log(1e6))

    low, high = max(math.floor(index(32)), 0), min(math.ceil(index(1)), WIDE - 1)
    share = [min(max((i - low) / max(high - low, 0.001), 0), 1) for i in range(WIDE // 2)]
    wanted = [t * (1 - s) + t / 4 * s for t, s in zip(speeds(1e6), share, strict=True)]
    assert found["inv_freq"] == pytest.approx(wanted, rel=1e-5)
    assert found["attention_factor"] == pytest.approx(1 + 0.1 * math.log(4), rel=1e-6)


def test_an_attention_factor_multiplies_under_every_type(audited):
    found = audited(fields={f"{SCALING}attn_factor": 1.5})["engines"]["llama.cpp"]
    assert found["attention_factor"] == 1.5


def test_a_slot_longer_than_the_original_takes_the_long_list(audited):
    lists = {"rope_factors_short": [1.0] * 8, "rope_factors_long": [2.0] * 8}
    fields = {f"{SCALING}original_context_length": 1024, "context_length": 4096}
    short, long = (
        audited("phi3", fields, lists, served_length=length)["engines"]["llama.cpp"]["inv_freq"]
        for length in (1024, 4096)
    )
    assert (short[0], long[0]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("architecture", "fields", "factors", "said"),
    [
        ("qwen2", {}, {"rope_freqs": [1.0] * 8}, "qwen2 loads no rope_freqs"),
        ("llama", {"rope.dimension_count": 8}, {}, "invalid n_rot: 8, expected 16"),
        ("llama", {}, {"rope_freqs": [1.0] * 6}, "expected 8, got 6"),
        ("llama", {f"{SCALING}type": "su"}, {}, "UNSPECIFIED"),
    ],
)
def test_what_the_loader_refuses_is_no_answer(architecture, fields, factors, said, tmp_path):
    file = gguf_files.write(tmp_path / "file.gguf", architecture, fields, factors)
    answer = llama_cpp_file(read_header(file))
    assert answer.inv_freq is None
    assert said in answer.error


def test_keys_that_the_loader_does_not_read_are_named(audited):
    fields = {f"{SCALING}type": "yarn", f"{SCALING}factor": 4.0, f"{SCALING}yarn_beta_fast": 16.0}
    document = audited("qwen2", {**fields, f"{SCALING}yarn_ext_factor": 0.5})
    (finding,) = (f for f in document["findings"] if f["id"] == "gguf-unread-key")
    assert "yarn_beta_fast 16" in finding["message"]
    assert "yarn_ext_factor 0.5" in finding["message"]


LLAMA3 = {
    "model_type": "llama",
    **{"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": L},
    "rope_theta": 1e4,
}


@pytest.mark.parametrize(
    ("rope", "said"),
    [
        (
            {
                **{"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 32},
                **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
            },
            "no rope_freqs.weight",
        ),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
            "rope.scaling.type is not stated, the config says yarn",
        ),
        ({"rope_type": "linear", "factor": 4.0}, "the config says linear"),
    ],
)
def test_what_a_conversion_lost_is_found(rope, said, audited):
    """llama.cpp issue 13322 and ik_llama issue 2003: a scaling that never reached the file."""
    document = audited(against={**LLAMA3, "rope_scaling": rope})
    (finding,) = (f for f in document["findings"] if f["id"] == "lost-in-conversion")
    assert said in finding["message"]
    assert "convert again" in finding["remedy"]


def test_a_faithful_conversion_lost_nothing(audited):
    assert "lost-in-conversion" not in ids(audited(against=LLAMA3))


def test_what_is_no_file_has_nothing_to_compare(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA3))
    with pytest.raises(RopewalkError, match=r"expected a \.gguf file"):
        rw.audit(str(tmp_path / "config.json"), against=LLAMA3)


def test_the_command_shows_who_can_load_the_file(tmp_path, capsys):
    file = gguf_files.write(tmp_path / "file.gguf", fields={"rope.scale_linear": 4.0})
    (tmp_path / "config.json").write_text(json.dumps(LLAMA3))
    assert main(["audit", str(file), "--against", str(tmp_path / "config.json"), "--strict"]) == 1
    out = capsys.readouterr().out
    assert "vllm fails: cannot load" in out
    assert "lost-in-conversion" in out


@pytest.mark.parametrize("cut", [3, 9, 30, 60, 200, 900])
def test_a_file_that_is_cut_off_is_one_clear_error(cut, tmp_path):
    whole = gguf_files.write(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:cut])
    with pytest.raises(RopewalkError):
        rw.audit(str(tmp_path / "cut.gguf"))


def test_bytes_that_were_changed_never_end_in_a_traceback(tmp_path):
    import random

    whole = gguf_files.write(tmp_path / "whole.gguf").read_bytes()
    dice = random.Random(0)
    for _ in range(300):
        broken = bytearray(whole[:4000])
        for _ in range(3):
            broken[dice.randrange(4, 900)] = dice.randrange(256)
        (tmp_path / "broken.gguf").write_bytes(broken)
        try:
            document = rw.audit(str(tmp_path / "broken.gguf"))
        except RopewalkError:
            continue
        assert document["engines"]
