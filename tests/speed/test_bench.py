"""Benches: who takes part, in which order, and what is divided by what."""

import json

import pytest
import torch
import typer
from torch.testing import assert_close

from benchmarks import rotate as rotating
from benchmarks.decode import bench_decode
from benchmarks.perplexity import bench_perplexity
from benchmarks.rotate import bench_rotate
from benchmarks.stream import bench_stream
from benchmarks.timing import Race, Spread, allocator, machine, race
from ropewalk.cli.bench import add_bench
from ropewalk.cli.main import main
from ropewalk.core.geometry import rope_inv_freq
from ropewalk.core.rotation import rotate
from ropewalk.data import demo_model

# Timing.


def test_each_contender_runs_once_a_round_and_the_order_turns():
    ran, told = [], []
    contenders = {name: lambda name=name: ran.append(name) for name in "abc"}
    timings = race(contenders, rounds=3, warmups=1, progress=lambda *what: told.append(what))
    assert "".join(ran) == "abccbaabccba"
    assert {name: len(seconds) for name, seconds in timings.seconds.items()} == dict.fromkeys(
        "abc", 3
    )
    assert all(second > 0 for seconds in timings.seconds.values() for second in seconds)
    assert [share for _, share in told] == [n / 12 for n in range(12)]


def test_a_ratio_is_taken_round_by_round():
    """Drift that hits both contenders of a round leaves it alone."""
    timings = Race({"own": (2.0, 20.0, 9.0), "peer": (1.0, 10.0, 3.0)})
    assert timings.ratio("own", "peer").values == (2.0, 2.0, 3.0)
    assert timings.ratios("peer")["own"]["median"] == 2.0
    assert timings.total("own") == 31.0


def test_quartiles_lie_between_values():
    assert Spread((5.0, 1.0, 4.0, 2.0, 3.0)).document() == {"median": 3.0, "quartiles": [2.0, 4.0]}
    assert Spread((1.0, 2.0)).quartiles == (1.25, 1.75)
    assert Spread((7.0,)).document() == {"median": 7.0, "quartiles": [7.0, 7.0]}


def test_an_allocator_that_was_put_in_front_is_named(monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert allocator().endswith("malloc")
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2 /opt/other.so")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    assert allocator() == "libjemalloc.so.2, other.so, MALLOC_ARENA_MAX set"


def test_what_ratios_depend_on_is_stated():
    stated = machine()
    assert stated["torch"] == torch.__version__
    assert stated["threads"] == torch.get_num_threads()
    assert set(stated) == {"torch", "threads", "processor", "instructions", "allocator"}


# Contenders.


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other libraries, where installed
def test_contenders_of_a_rotation_do_the_same_work():
    case = rotating._Case.of(16, torch.float32)
    angles = torch.arange(16).double()[:, None] * rope_inv_freq(rotating.HEAD_DIM, 1e4)
    half = [rotate(x.double(), angles) for x in (case.q, case.k)]
    pairs = [rotate(x.double(), angles, pairing="interleaved") for x in (case.q, case.k)]
    contenders = dict(rotating._contenders(case))
    for name, work in contenders.items():
        expected = {"clone": (case.q, case.k), **dict.fromkeys(rotating._OTHERS, pairs)}
        for actual, wanted in zip(work(), expected.get(name, half), strict=True):
            # float32 angles up to 15 radians, and products of numbers up to 5.
            assert_close(actual.double(), wanted.double(), rtol=0, atol=1e-5)
    assert {"clone", "ropewalk", "ropewalk, cos and sin at hand", "transformers"} <= {*contenders}


def test_rotation_is_measured_against_its_copy():
    document = bench_rotate(tokens=8, rounds=2)
    json.dumps(document, allow_nan=False)
    assert list(document)[:2] == ["bench", "ratios"]
    for dtype in ("float32", "bfloat16"):
        assert document["ratios"][dtype]["clone"]["median"] == 1
        seconds = {name: each["seconds"] for name, each in document["timings"][dtype].items()}
        own = [a / b for a, b in zip(seconds["ropewalk"], seconds["clone"], strict=True)]
        assert document["ratios"][dtype]["ropewalk"]["median"] == pytest.approx(sum(own) / 2)
        faster = document["speedup_over_transformers"][dtype]["median"]
        own = [a / b for a, b in zip(seconds["transformers"], seconds["ropewalk"], strict=True)]
        assert faster == pytest.approx(sum(own) / 2)
    assert document["shapes"]["q"] == [1, 32, 8, 128]


@pytest.mark.slow
def test_a_stream_computes_what_decoding_does():
    methods = ("dynamic_ntk", "dynamic_ntk:policy=at_birth")
    document = bench_stream(methods=methods, length=270, rounds=1, device="cpu")
    json.dumps(document, allow_nan=False)
    assert set(document["ratios"]) == set(methods)
    assert set(document["timings"]) == {
        "none, decode",
        *(f"{method}, {mode}" for method in methods for mode in ("stream", "decode")),
    }
    for method in methods:
        assert document["differences"][method]["mean_loss"] < 1e-5
        medians = {name: each["median"] for name, each in document["timings"].items()}
        for peer, name in (("own", method), ("plain", "none")):
            expected = medians[f"{name}, decode"] / medians[f"{method}, stream"]
            assert document["ratios"][method][f"{peer}_decoding"]["median"] == pytest.approx(
                expected
            )


def test_decoding_is_measured_over_the_keys_asked_for():
    document = bench_decode(
        demo_model(), methods=("dynamic_ntk", "rerope"), length=300, tokens=2, device="cpu"
    )
    json.dumps(document, allow_nan=False)
    assert document["cached_keys"] == 300
    assert set(document["timings"]) == {"stock", "dynamic_ntk", "rerope"}
    seconds = {name: sum(each["seconds"]) for name, each in document["timings"].items()}
    assert document["tokens_per_second"]["stock"] == pytest.approx(2 / seconds["stock"])
    for name in ("dynamic_ntk", "rerope"):
        expected = seconds["stock"] / seconds[name]
        assert document["ratios"][name]["all_tokens"] == pytest.approx(expected)


def test_the_cost_of_measuring_is_that_of_a_pass():
    document = bench_perplexity(length=256, repeats=1, device="cpu")
    json.dumps(document, allow_nan=False)
    seconds = {name: each["median"] for name, each in document["timings"].items()}
    expected = seconds["curve"] / seconds["one pass"]
    assert document["ratios"]["curve_over_one_pass"]["median"] == pytest.approx(expected)
    assert document["memory"]["float32_logits_bytes"] == 256 * 4096 * 4


# Commands.


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("rotate --tokens 8 --rounds 1", "ropewalk, float32"),
        ("stream --length 64 --rounds 1 --method linear --device cpu", "times faster than its"),
        ("decode {demo} --length 64 --tokens 1 --method dynamic_ntk --device cpu", "of stock"),
        ("perplexity --length 64 --repeats 1 --device cpu", "times one pass"),
    ],
    ids=["rotate", "stream", "decode", "perplexity"],
)
def test_a_command_prints_its_figures_and_what_they_depend_on(words, shown, capsys):
    assert main(["bench", *words.format(demo=demo_model()).split()]) == 0
    printed = capsys.readouterr().out
    assert shown in printed
    assert f"torch {torch.__version__}" in printed


def test_a_command_prints_one_document(capsys):
    assert main(["bench", "rotate", "--tokens", "8", "--rounds", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bench"] == "rotate"


@pytest.mark.parametrize(
    "words", ["decode no/such/model", "stream --method yarnn", "stream --length 1"]
)
def test_bad_input_is_one_line(words, capsys):
    assert main(["bench", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", ["", "rotate", "decode ./my-model --length 2x --json"])
def test_without_a_clone_one_line_says_where_benchmarks_are(words, tmp_path, monkeypatch, capsys):
    installed = typer.Typer()
    installed.callback()(lambda: None)
    add_bench(installed, tmp_path)
    monkeypatch.setattr("ropewalk.cli.main.app", installed)
    assert main(["bench", *words.split()]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert "expected a clone of the repository" in error
    assert error.count("\n") == 1
