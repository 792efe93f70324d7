"""What is exported, read again as each engine reads it, computes what was asked."""

import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ropewalk as rw
from config_strategies import CONFIGS
from places import GOLDENS
from readings import answer_of, encoding_from_config, read_rope_section, reading_of
from representative import PARAMETERS
from ropewalk.cli.main import main
from ropewalk.configs.gguf_names import gguf_architecture
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.dialects import DIALECTS
from ropewalk.engines.llama_cpp.flags import llama_cpp_with_flags
from ropewalk.engines.table import ENGINES
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


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The text of a spec with its LISTS in files."""
    folder = tmp_path_factory.mktemp("lists")
    for name, values in (("short", SHORT_LIST), ("long", LONG_LIST)):
        (folder / f"{name}.json").write_text(json.dumps(values))
    files = f"short_factor=@{folder}/short.json,long_factor=@{folder}/long.json"
    return lambda spec: spec.replace("LISTS", files)


def asked(config, spec, length):
    """Frequencies and attention factor of a sequence of ``length`` tokens, from the method."""
    native = encoding_from_config(config)
    geometry = read_rope_section(config).geometry()
    encoding = native if spec == "native" else rw.encoding(spec, geometry)
    at = encoding.settled_length or max(length, geometry.trained_length)
    frequencies = encoding.frequencies
    return frequencies.inv_freq(at), frequencies.attention_factor(at)


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


# Configs of other shapes.

LITE = {
    "model_type": "deepseek_v2",
    "architectures": ["DeepseekV2ForCausalLM"],
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "kv_lora_rank": 512,
    "num_hidden_layers": 27,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
    },
}


@pytest.mark.parametrize("engine", ENGINES)
def test_latent_attention_keeps_the_softmax_scale_it_was_trained_with(engine):
    """m(40, 0.707)^2 = 1.58963, whatever factor replaces 40."""
    document = rw.export(LITE, "yarn:factor=80,attention_factor=1.0", engine)
    answer, _ = answered(LITE, document, document["length"])
    assert answer.softmax_scale_multiplier == pytest.approx(1.5896261651208736, rel=1e-6)
    assert answer.attention_factor == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("engine", sorted(ALL - HF))
def test_latent_attention_cannot_have_another_type_in_engines_that_force_yarn(engine):
    with pytest.raises(RopewalkError, match=f"on {engine.replace('.', '[.]')}: .*nearest"):
        rw.export(LITE, "linear:factor=40", engine)


def test_other_layers_keep_their_rope_dict():
    sliding = {"rope_type": "default", "rope_theta": 1e4}
    nested = {"full_attention": {"rope_type": "default", "rope_theta": 1e6}}
    config = {**QWEN, "rope_parameters": {**nested, "sliding_attention": sliding}}
    document = rw.export(config, "yarn:factor=4", "vllm")
    layers = document["config"]["rope_parameters"]
    assert layers["sliding_attention"] == sliding
    assert layers["full_attention"]["factor"] == 4.0


def test_a_local_base_becomes_a_dict_of_its_own():
    """Gemma 3 as it was first written: a flat dict that is meant for full attention."""
    config = {**QWEN, "model_type": "gemma3_text", "rope_local_base_freq": 1e4}
    layers = rw.export(config, "linear:factor=4", "vllm")["config"]["rope_parameters"]
    assert layers["sliding_attention"] == {"rope_type": "default", "rope_theta": 1e4}
    assert layers["full_attention"]["rope_type"] == "linear"


def test_a_multimodal_config_is_written_in_its_text_part():
    config = {"model_type": "vlm", "text_config": QWEN}
    document = rw.export(config, "yarn:factor=4", "sglang")
    assert set(document["config"]) == {"text_config"}
    assert '--json-model-override-args \'{"text_config"' in document["command"]


def test_keys_that_a_merge_would_keep_are_set_to_null():
    old = {"type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5, "attn_factor": 2.0}
    config = {**QWEN, "rope_scaling": {**old, "original_max_position_embeddings": L0}}
    rope = rw.export(config, "yarn:factor=4,beta_fast=16", "sglang")["config"]["rope_parameters"]
    assert rope["mscale"] is rope["mscale_all_dim"] is rope["attn_factor"] is None
    assert rope["type"] == "yarn"


def test_what_is_baked_into_a_file_is_not_stacked_upon():
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
    scaling |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config = {**QWEN, "rope_scaling": scaling, "max_position_embeddings": LONG}
    assert rw.export(config, "native", "llama.cpp")["flags"] == ["-c", str(LONG)]
    with pytest.raises(RopewalkError, match="bakes"):
        rw.export(config, "yarn:factor=16", "llama.cpp")


def test_windows_beside_a_flat_dict_are_noted():
    windows = {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 12}
    (note,) = rw.export({**QWEN, **windows}, "yarn:factor=4", "vllm")["notes"]
    assert note.startswith("16 layers see a window of 4,096 tokens")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_scaling_that_no_layer_feels_is_refused(engine):
    config = {**QWEN, "model_type": "mistral", "sliding_window": 4096}
    words = "RoPE needs no scaling at any length: the 28 layers that rotate see at most 4,096"
    with pytest.raises(RopewalkError, match=words):
        rw.export(config, "yarn:factor=4", engine)


def test_lists_that_follow_the_sequence_are_not_what_vllm_serves():
    """At max_model_len above L every request takes the long list, short ones too."""
    config = {**QWEN, "max_position_embeddings": LONG}
    lists = {"short_factor": SHORT_LIST, "long_factor": LONG_LIST}
    config["rope_scaling"] = {
        **{"rope_type": "longrope", "original_max_position_embeddings": L0},
        **lists,
    }
    with pytest.raises(RopewalkError, match="decided once, by --max-model-len"):
        rw.export(config, "native", "vllm")
    assert rw.export(config, "native", "vllm", L0)["flags"] == ["--max-model-len", str(L0)]


# The audit of its own output.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wrong", ["rope_theta", "factor"])
def test_an_export_that_computes_something_else_is_not_handed_out(engine, wrong, monkeypatch):
    """A writer with a bug: the audit stands between it and the reader."""
    kind = type(DIALECTS[engine])
    write = kind.write

    def wrong_write(dialect, request):
        block = request.block
        changed = {"rope_theta": block.rope_theta * 1.001} if wrong == "rope_theta" else {}
        factors = {"factor": 4.01} | dict.fromkeys(("short_factor", "long_factor"), [4.01] * 64)
        parameters = dict(block.parameters) | (factors if wrong == "factor" else {})
        block = replace(block, parameters=parameters, **changed)
        return write(dialect, replace(request, block=block))

    monkeypatch.setattr(kind, "write", wrong_write)
    with pytest.raises(RopewalkError, match=r"differ|attention factor"):
        rw.export(QWEN, "yarn:factor=4", engine)


# llama.cpp's flags.

RECORDED = json.loads((GOLDENS / "engines.json").read_text("utf-8"))
FLAGGED = [record for record in RECORDED["records"] if record.get("extra_flag")]


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


# The command.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**QWEN, "rope_scaling": None}))
    return str(path)


def printed(capsys, *arguments):
    status = main(list(arguments))
    out, err = capsys.readouterr()
    return SimpleNamespace(status=status, out=out, err=err)


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
