"""Flags of llama.cpp, bad input, and the command."""

import json
import shlex
from types import SimpleNamespace

import pytest
from export_configs import L0, LONG, QWEN
from hypothesis import given, settings
from hypothesis import strategies as st

import ropewalk as rw
from config_strategies import CONFIGS
from places import GOLDENS
from readings import reading_of
from ropewalk.cli.main import main
from ropewalk.configs.gguf_names import gguf_architecture
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.llama_cpp.flags import llama_cpp_with_flags
from ropewalk.engines.table import ENGINES

RECORDED = json.loads((GOLDENS / "engines.json").read_text("utf-8"))


FLAGGED = [record for record in RECORDED["records"] if record.get("extra_flag")]


# llama.cpp's flags.


@pytest.mark.parametrize("record", FLAGGED, ids=lambda record: record["extra_flag"])
def test_a_flag_does_what_the_executed_release_did(record):
    config = RECORDED["configs"][record["id"]]
    words = shlex.split(record["extra_flag"])
    found = llama_cpp_with_flags(
        reading_of(config, record["served_length"], record["layer_type"]), words
    )
    expected = record["expected"]
    # Recorded in float32, from a kernel that walks from pair to pair in float32.
    assert found.answer.attention_factor == pytest.approx(expected["attention_factor"], rel=1e-6)
    assert found.answer.inv_freq == pytest.approx(expected["inv_freq"], rel=1e-6)


def test_both_ways_to_set_yarn_s_magnitude_are_among_the_recorded_ones():
    flags = {record["extra_flag"].split()[0] for record in FLAGGED}
    assert flags == {"--yarn-attn-factor", "--override-kv"}


YARN_FLAGS = ["--rope-scaling", "yarn", "--rope-scale", "4", "--yarn-orig-ctx", str(L0)]


def flagged(*flags, config=QWEN):
    return llama_cpp_with_flags(reading_of(config, L0), flags)


def test_yarn_s_flags_raise_the_context_that_a_slot_may_have():
    assert flagged(*YARN_FLAGS).trained_context == 4 * L0
    assert flagged("--rope-scaling", "linear", "--rope-scale", "4").trained_context == L0
    assert flagged("--override-kv", "qwen2.context_length=int:99999").trained_context == 99999


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--rope-scaling", "ntk"), "none, linear, yarn"),
        (("--rope-freq-base", "much"), "a number"),
        (("-c",), "a value"),
    ],
)
def test_flags_that_are_none_are_refused(flags, said):
    with pytest.raises(RopewalkError, match=said):
        flagged(*flags)


def test_unknown_architectures_are_refused_where_their_name_is_needed():
    config = {**QWEN, "model_type": "brandnew"}
    assert rw.export(config, "yarn:factor=4", "llama.cpp")["flags"][:2] == [
        "--rope-scaling",
        "yarn",
    ]
    with pytest.raises(RopewalkError, match=r"general\.architecture"):
        rw.export(config, "linear:factor=4", "llama.cpp")


def test_names_in_gguf_files_are_those_of_the_gguf_package():
    gguf = pytest.importorskip("gguf")
    from ropewalk.configs import gguf_names

    known = set(gguf.MODEL_ARCH_NAMES.values())
    types = (*gguf_names._SAME, *gguf_names._OTHERS, *gguf_names._AS_LLAMA)
    newer = {"laguna"}  # released after the package
    assert {gguf_architecture(name) for name in types} - newer <= known


# Bad input, and any input.


@pytest.mark.parametrize(
    ("given_here", "said"),
    [
        ({"engine": "vlm"}, "did you mean vllm"),
        ({"engine": "ollama"}, "transformers, vllm, sglang, llama.cpp"),
        ({"spec": "yarm:factor=4"}, "did you mean yarn"),
        ({"spec": "yarn"}, "factor"),
        ({"spec": "yarn:factor=length"}, None),
        ({"length": 1}, "length"),
        ({"length": 2**41}, "length"),
        ({"length": True}, "length"),
        ({"config": {}}, "no rope fields"),
    ],
)
def test_bad_input_is_one_clear_error(given_here, said):
    asked_for = {"config": QWEN, "spec": "yarn:factor=4", "engine": "vllm", "length": None}
    if said is None:
        assert rw.export(**{**asked_for, **given_here})["length"] == L0
        return
    with pytest.raises(RopewalkError, match=said):
        rw.export(**{**asked_for, **given_here})


SPECS = st.sampled_from(
    (
        *("native", "none", "yarn:factor=4", "linear:factor=2", "ntk_aware:factor=8", "rerope"),
        *("dynamic_ntk:policy=whole_sequence", "llama3:factor=4"),
        "proportional:partial_rotary_factor=0.5",
    )
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(config=CONFIGS, spec=SPECS, engine=st.sampled_from(list(ENGINES)))
def test_any_config_is_exported_or_refused(config, spec, engine):
    try:
        document = rw.export(config, spec, engine)
    except RopewalkError:
        return
    json.dumps(document)
    assert document["checked"]["inv_freq"] <= 1e-5


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN, "rope_scaling": None}))
    return str(path)


def printed(capsys, *arguments):
    status = main(list(arguments))
    out, err = capsys.readouterr()
    return SimpleNamespace(status=status, out=out, err=err)


# The command.


def test_the_command_prints_what_the_function_returns(file, capsys):
    words = ["export", file, "--method", "yarn:factor=4", "--engine", "vllm", "--json"]
    found = printed(capsys, *words)
    assert found.status == 0
    assert json.loads(found.out) == rw.export(file, "yarn:factor=4", "vllm")


def test_a_person_reads_what_to_paste_and_what_was_checked(file, capsys):
    found = printed(capsys, "export", file, "--method", "yarn:factor=4", "--engine", "llama.cpp")
    first, _, checked = found.out.splitlines()
    assert shlex.split(first)[-2:] == ["-c", str(LONG)]
    assert checked.startswith("Checked against llama.cpp")
    found = printed(capsys, "export", file, "--method", "none", "--engine", "transformers")
    assert found.out.startswith("In config.json, set\n{")
    assert "Remove rope_scaling." in found.out


def test_lengths_may_be_multiples_of_the_trained_length(file, capsys):
    words = ["export", file, "--method", "yarn:factor=4", "--engine", "sglang", "--length", "2x"]
    assert json.loads(printed(capsys, *words, "--json").out)["length"] == 2 * L0


def test_a_refusal_is_one_line_and_status_2(file, capsys):
    found = printed(capsys, "export", file, "--method", "rerope", "--engine", "vllm")
    assert found.status == 2
    assert found.err.startswith("error: rerope")
    assert len(found.err.splitlines()) == 1


MISTRAL = {
    **QWEN,
    **{"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": None},
}


LISTED = {
    **{key: value for key, value in MISTRAL.items() if key != "rope_theta"},
    "rope_parameters": {
        **{"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": L0},
        **{"short_factor": [1.0] * 64, "long_factor": [4.0] * 64},
    },
    **{"max_position_embeddings": LONG, "sliding_window": None},
}


def test_llama_cpp_is_given_no_lists_that_its_converter_does_not_write():
    """The server was seen to compute plain RoPE where this said that it was checked."""
    with pytest.raises(RopewalkError) as refusal:
        rw.export(LISTED, "native", "llama.cpp", LONG)
    assert "own lists" not in str(refusal.value)
    phi3 = json.loads((GOLDENS / "engines.json").read_text("utf-8"))["configs"]["longrope-phi3"]
    with pytest.raises(RopewalkError, match="own lists -c 131072 alone"):
        rw.export(phi3, "native", "llama.cpp", 131072)


def test_a_type_without_lists_is_replaced_by_flags():
    """No tensor of divisors stands in the file, so that nothing stacks."""
    found = rw.export(LISTED, "yarn:factor=4", "llama.cpp")
    assert "--rope-scaling yarn" in found["command"]


@pytest.mark.parametrize(("engine", "reserved"), [("vllm", 1), ("sglang", 7), ("llama.cpp", 1)])
def test_a_prompt_leaves_room_for_what_is_generated(engine, reserved):
    """The longest prompts that running servers took."""
    checked = rw.export(QWEN, "yarn:factor=4", engine)["checked"]
    assert checked["longest_prompt"] == checked["admitted"] - reserved


@pytest.mark.parametrize(
    ("flags", "slot"),
    [
        ((), 4096),
        (("-np", "4"), 1024),
        (("--parallel", "4"), 1024),
        (("-np", "4", "--kv-unified"), 4096),
    ],
)
def test_the_context_of_llama_cpp_is_divided_among_stated_slots(flags, slot):
    reading = reading_of(QWEN)
    answer = llama_cpp_with_flags(reading, ("-c", "4096", *flags)).answer
    assert answer.encoding.length_policy.length == slot


def test_phi3_takes_lists_where_its_config_class_knows_no_other_type():
    config = json.loads((GOLDENS / "engines.json").read_text("utf-8"))["configs"]["longrope-phi3"]
    for engine in ("transformers", "vllm", "sglang"):
        rope = rw.export(config, "yarn:factor=4", engine)["config"]["rope_parameters"]
        assert rope["rope_type"] == "longrope"
        assert rope["short_factor"] == rope["long_factor"]
    with pytest.raises(RopewalkError, match="knows default and longrope alone"):
        rw.export(config, "dynamic_ntk:factor=4,policy=whole_sequence", "transformers")


def test_olmo3_is_olmo2_in_gguf_files():
    assert gguf_architecture("olmo3") == "olmo2"
