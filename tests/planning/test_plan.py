"""A plan: what reaches a length, what it costs, and that what it names can be done."""

import json
import math
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ropewalk as rw
from config_strategies import CONFIGS, JUNK
from places import RESULTS
from ropewalk.cli.main import main
from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.spec import parse_spec
from ropewalk.planning.candidates import CANDIDATES
from ropewalk.planning.measured import measured
from ropewalk.planning.target import Target

L0 = 8192
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 576,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "num_hidden_layers": 30,
    "max_position_embeddings": L0,
    "rope_theta": 1e5,
}
ORIGINAL = "original_max_position_embeddings"
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
DYNAMIC = {"type": "dynamic", "factor": 6.0}
SCALED = {**LLAMA, "max_position_embeddings": 16 * L0, "rope_scaling": {**LLAMA3, ORIGINAL: L0}}


def by_name(document):
    return {row["name"]: row for row in document["methods"]}


# What is needed.


@pytest.mark.parametrize("length", [2, L0 - 1, L0])
def test_nothing_is_needed_within_the_trained_length(length):
    document = rw.plan(LLAMA, length)
    assert not document["needed"]
    assert document["summary"].startswith("Nothing is needed")
    (row,) = document["methods"]
    assert (row["method"], row["status"]) == ("native", "as trained")
    assert row["engines"]["vllm"]["flags"] == ["--max-model-len", str(length)]
    assert document["recommended"] == {"extend": "native", "serve": "native"}


@pytest.mark.parametrize(
    ("config", "reach"),
    [
        (LLAMA, L0),
        (SCALED, 16 * L0),
        ({**LLAMA, "rope_scaling": {"type": "yarn", "factor": 4.0, ORIGINAL: L0}}, 4 * L0),
        ({**LLAMA, "rope_scaling": {"type": "linear", "factor": 4.0}}, L0),
        ({**LLAMA, "rope_scaling": DYNAMIC}, L0),
        ({**LLAMA, "rope_scaling": {"type": "dynamic", "alpha": 1000.0}}, L0),
        ({**LLAMA, "max_trained_positions": 2048, "rope_scaling": DYNAMIC}, 2048),
    ],
)
def test_reach_is_what_the_checkpoint_covers_as_it_is(config, reach):
    document = rw.plan(config, reach)
    assert document["reach"] == reach
    assert not document["needed"]
    assert rw.plan(config, reach + 1)["needed"]


@pytest.mark.parametrize(
    ("times", "statuses"),
    [
        (2, {"yarn": "untuned", "rerope": "untuned", "ntk_aware": "untuned"}),
        (4, {"yarn": "untuned", "ntk_aware": "out of reach", "linear": "fine-tuning"}),
        (8, {"yarn": "fine-tuning", "self_extend": "untuned", "dynamic_ntk": "out of reach"}),
        (16, {"dual_chunk": "out of reach", "linear": "fine-tuning", "abf": "out of reach"}),
        (32, {"yarn": "fine-tuning", "linear": "out of reach", "longrope": "search first"}),
        (600, {"longrope": "out of reach", "yarn": "out of reach", "none": "out of reach"}),
    ],
)
def test_status_follows_what_was_published(times, statuses):
    rows = by_name(rw.plan(LLAMA, times * L0))
    assert {name: rows[name]["status"] for name in statuses} == statuses


def test_rows_that_reach_the_length_come_first_and_are_recommended():
    document = rw.plan(LLAMA, 4 * L0)
    order = ["untuned", "fine-tuning", "search first", "out of reach"]
    ranks = [order.index(row["status"]) for row in document["methods"]]
    assert ranks == sorted(ranks)
    assert document["recommended"] == {
        "extend": f"dual_chunk:chunk_size={3 * L0 // 4},local_window={L0 // 4}",
        "serve": "yarn:factor=4",
    }
    assert rw.plan(LLAMA, 600 * L0)["recommended"] == {"extend": None, "serve": None}


def test_a_trained_scaling_is_kept_under_position_maps_and_not_replaced_untuned():
    rows = by_name(rw.plan(SCALED, 64 * L0))
    assert rows["rerope"]["method"] == f"native+rerope:window={8 * L0}"
    assert rows["rerope"]["reaches_untuned"] == 8 * 16 * L0
    assert rows["yarn"]["status"] == "out of reach"
    assert by_name(rw.plan(SCALED, 32 * L0))["yarn"]["status"] == "fine-tuning"
    assert "llama3 scaling" in rows["yarn"]["reason"]


# What the specs do.


@pytest.mark.parametrize("config", [LLAMA, SCALED], ids=["plain", "scaled"])
@pytest.mark.parametrize("times", [1.01, 3.3, 8])
@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.name)
def test_every_spec_is_one_that_inspect_can_show(config, times, candidate):
    target = Target.of(read_model(config), int(times * config["max_position_embeddings"]))
    spec = candidate.spec(target)
    if spec is None:
        assert candidate.name == "longrope"
        return
    beside = {"clipped": {"abf"}}.get(candidate.name, set())
    assert {part.name for part in parse_spec(spec).parts} - {"native"} == {candidate.name, *beside}
    assert rw.inspect(config, target.length, spec)["context_length"] == target.length


@pytest.mark.parametrize("config", [LLAMA, SCALED], ids=["plain", "scaled"])
@pytest.mark.parametrize("name", ["rerope", "leaky_rerope", "self_extend", "dual_chunk"])
def test_position_maps_stay_within_what_was_trained(config, name):
    """No distance that is shown reaches the reach; a small reach makes that quick to see."""
    small = {**config, "max_position_embeddings": config["max_position_embeddings"] // 512}
    if "rope_scaling" in small:
        small["rope_scaling"] = {**small["rope_scaling"], ORIGINAL: L0 // 512}
    target = Target.of(read_model(small), 8 * small["max_position_embeddings"])
    (candidate,) = (c for c in CANDIDATES if c.name == name)
    spec = candidate.spec(target).removeprefix("native+")
    encoding = rw.encoding(spec, target.section.geometry())
    shown = rw.relative_positions(encoding, target.length)
    assert shown.nan_to_num(0).max() < target.reach


@pytest.mark.parametrize("times", [1.37, 2.9999, 5.1])
def test_factors_are_never_rounded_below_what_the_length_needs(times):
    length = int(times * L0)
    for name in ("yarn", "linear", "llama3"):
        spec = by_name(rw.plan(LLAMA, length))[name]["method"]
        assert float(spec.partition("=")[2]) * L0 >= length


def test_clipped_is_trained_over_a_larger_base_and_goes_by_lists():
    """The base is the published bound for the length; three engines read lists, no flag does."""
    row = by_name(rw.plan(LLAMA, 8 * L0))["clipped"]
    base = float(row["method"].removesuffix("+clipped").partition("=")[2])
    assert base == pytest.approx(0.0424 * (8 * L0) ** 1.628)
    assert (row["status"], row["extend"], row["reaches_tuned"]) == ("fine-tuning", None, 8 * L0)
    assert "nothing was reported untrained" in row["reason"]
    theta = [base ** (-2 * i / 64) for i in range(32)]
    slow = [i for i in range(32) if 2 * math.pi / 1e5 ** (-2 * i / 64) > L0]
    taper = [(1 + math.cos(math.pi * k / (len(slow) - 1))) / 2 for k in range(len(slow))]
    wanted = theta[: slow[0]] + [theta[i] * taper[k] for k, i in enumerate(slow)]
    for engine in ("transformers", "vllm", "sglang"):
        rope = row["engines"][engine]["config"]["rope_parameters"]
        found = [
            rope["rope_theta"] ** (-2 * i / 64) / each for i, each in enumerate(rope["long_factor"])
        ]
        assert (rope["rope_type"], rope["long_factor"]) == ("longrope", rope["short_factor"])
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-15)
    assert "--out NEW.gguf" in row["engines"]["llama.cpp"]["error"]
    assert by_name(rw.plan(LLAMA, 8 * L0 + 1))["clipped"]["status"] == "out of reach"


def test_flags_are_those_of_export():
    row = by_name(rw.plan(LLAMA, 4 * L0))["yarn"]
    for engine, found in row["engines"].items():
        exported = rw.export(LLAMA, "yarn:factor=4", engine, 4 * L0)
        assert found == {key: exported[key] for key in found}
    assert by_name(rw.plan(LLAMA, 4 * L0))["rerope"]["engines"]["vllm"]["error"].startswith(
        "rerope"
    )


# What was measured, and memory.


@pytest.mark.parametrize("name", sorted(measured()))
def test_the_table_of_measurements_is_the_committed_results(name):
    """Where results are made again, ``python -m recipes.measured`` has to follow."""
    row = measured()[name]
    document = json.loads((RESULTS / Path(row["source"].partition(":")[0]).name).read_text("utf-8"))
    cells = {
        (cell["method"], cell["length"]): cell["nll"]
        for cell in document["cells"]
        if cell["mode"] == "full" and "task" not in cell
    }
    (spec,) = {spec for spec, _ in cells if spec in (name, f"{name}:step=32")}
    before = cells["none", 256]
    found = {str(times): cells[spec, 256 * times] - before for times in (1, 2, 4, 8)}
    assert row["nats_above_trained"] == pytest.approx(found, abs=6e-4)


def test_measured_methods_carry_their_figures_and_source():
    rows = by_name(rw.plan(LLAMA, 2 * L0))
    assert rows["yarn"]["measured"]["nats_above_trained"]["8"] == 0.291
    assert "docs/results/demo.json" in rows["yarn"]["measured"]["source"]
    assert rows["abf"]["measured"] is None


def test_position_maps_are_measured_too():
    maps = {"rerope", "leaky_rerope", "self_extend", "dual_chunk", "string"}
    assert maps <= {*measured()}


def test_memory_is_that_of_the_length_batch_and_dtype():
    """2 * 3 heads * 64 channels * 30 layers = 11,520 numbers a token."""
    memory = rw.plan(LLAMA, 4 * L0, batch=2, dtype="fp8")["kv_cache"]
    assert memory["bytes"] == 2 * 4 * L0 * 11_520
    unknown = {k: v for k, v in LLAMA.items() if k != "num_hidden_layers"}
    unknown["model_type"] = "no library's"
    memory = rw.plan(unknown, 4 * L0)["kv_cache"]
    assert memory["bytes"] is None
    assert "num_hidden_layers" in memory["reason"]


# Bad input, and any input.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"length": 1}, "length"),
        ({"length": 2**41}, "length"),
        ({"length": True}, "length"),
        ({"length": "eight"}, "length"),
        ({"batch": 0}, "batch"),
        ({"dtype": "float8"}, "fp8"),
        ({"config": {}}, "no rope fields"),
        ({"config": {**LLAMA, "rope_scaling": {"type": "yarm"}}}, None),
    ],
)
def test_bad_input_is_one_clear_error(asked, said):
    wanted = {"config": LLAMA, "length": 4 * L0, **asked}
    if said is None:  # the type is unknown, so is what each engine does: the methods are not
        assert rw.plan(**wanted)["needed"]
        return
    with pytest.raises(RopewalkError, match=said):
        rw.plan(**wanted)


LENGTHS = st.one_of(st.sampled_from([2, 300, 2048, 32768, 2**20, 2**40]), JUNK)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(config=CONFIGS, length=LENGTHS, method=st.sampled_from([None, "yarn:factor=4", "rerope"]))
def test_any_config_is_inspected_and_planned_or_refused_quickly(config, length, method):
    for ask in (lambda: rw.plan(config, length), lambda: rw.inspect(config, length, method)):
        start = time.process_time()
        with suppress(RopewalkError):
            json.dumps(ask(), allow_nan=False)
        assert time.process_time() - start < 0.5  # 0.1 s on an idle machine


# The command.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    return str(path)


def test_the_command_prints_what_the_function_returns(file, capsys):
    words = ["plan", file, "--length", "4x", "--batch", "3", "--dtype", "int8", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == rw.plan(file, 4 * L0, 3, "int8")


def test_a_person_reads_methods_memory_and_flags(file, capsys):
    assert main(["plan", file, "--length", "4x"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("32,768 tokens are 4 times the 8,192")
    assert "Key cache of 1 x 32,768 tokens in bf16: 0.70 GiB" in out
    for engine in ("transformers", "vllm", "sglang", "llama.cpp"):
        assert f"\n# {engine}\n" in out
    assert "\nRecommended in an engine: yarn:factor=4\n" in out
    assert main(["plan", file, "--length", "8x"]) == 0
    said = (
        "\nRecommended in an engine, after fine-tuning (without it up to 32,768): yarn:factor=8\n"
    )
    assert said in capsys.readouterr().out
    assert main(["plan", file, "--length", "1x"]) == 0
    assert capsys.readouterr().out.startswith("Nothing is needed")
    assert main(["plan", file, "--length", "600x"]) == 0
    assert "No engine expresses" in capsys.readouterr().out
