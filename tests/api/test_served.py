"""A server over a real model under a known encoding is named as what it computes, or not at all."""

import json

import pytest
import torch

import ropewalk as rw
from fake_server import ENGINES, VLLM, serving
from recipes.families.sharpened import L0, tiny
from ropewalk.api.serving import verify_served
from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.instead import INSTEAD, UNSCALED

LENGTH = 112
LISTS = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": LISTS,
    "factor": 4.0,
    "original_max_position_embeddings": L0,
    "rope_theta": 10000.0,
}
METHODS = [
    "none",
    "linear:factor=4",
    "ntk_aware:factor=4",
    "abf:rope_theta=500000",
    "dynamic_ntk:factor=2,policy=fixed,length=128",
    "dynamic_ntk:factor=2",
    "yarn:factor=4",
    "ntk_by_parts:factor=4",
    "yarn:factor=4,beta_fast=4,beta_slow=0.5",
    "yarn:factor=4,truncate=false",
    "llama3:factor=4",
]
CANNOT_TELL = "cannot tell"


def saved(folder, **changes):
    model = tiny(dtype=torch.float32, num_hidden_layers=2, **changes)
    model.save_pretrained(folder)
    return str(folder), model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def phi(tmp_path_factory):
    settings = {"rope_parameters": LONGROPE, "max_position_embeddings": 4 * L0}
    return saved(tmp_path_factory.mktemp("longrope"), **settings)


def predicting(model, spec, change=lambda logprobs: logprobs):
    """Tokens to log-probabilities under a method, through ``change``."""

    @torch.no_grad()
    def predict(ids):
        with rw.extend(model, spec):
            return change(model(ids[None]).logits[0].double().log_softmax(dim=-1))

    return predict


def asked(checkpoint, served, method="native", engine="vllm", **options):
    """The document of a server that computes ``served``, a spec or a function of tokens."""
    source, model = checkpoint
    kind, owner = ENGINES[engine]
    predict = predicting(model, served) if isinstance(served, str) else served
    with serving(kind(owner, predict)) as url:
        return verify_served(source, url, method=method, length=LENGTH, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_identified_as_itself(checkpoint, method, engine):
    found = asked(checkpoint, method, method, engine)
    assert (found["engine"], found["asked"], found["verdict"]) == (engine, method, method)
    assert found["passed"]
    assert found["departs_at"] is None
    assert found["finding"] is None


def test_longrope_is_identified_by_its_own_config(phi):
    assert asked(phi, "native")["verdict"] == "native"


def test_a_server_without_longropes_lists_is_unscaled(phi):
    found = asked(phi, "none", engine="llama.cpp")
    assert found["verdict"] == "none"
    assert found["finding"]["id"] == "longrope-without-lists"
    assert not found["passed"]


FAULTS = [
    ("none", "yarn:factor=4", "none"),
    ("yarn:factor=8", "yarn:factor=4", "yarn:factor=8"),
    ("yarn:factor=3.9", "yarn:factor=4", CANNOT_TELL),
    ("yarn:factor=4", "yarn:factor=4,beta_fast=4,beta_slow=0.5", "beta_fast 32 and beta_slow 1"),
    ("yarn:factor=4", "yarn:factor=4,truncate=false", "cut-offs rounded"),
    ("ntk_by_parts:factor=4", "yarn:factor=4", "the attention factor dropped"),
    ("yarn:factor=4", "linear:factor=4", "yarn:factor=4"),
    ("abf:rope_theta=20000", "none", CANNOT_TELL),
    ("none", "dynamic_ntk:factor=2", "none"),
    ("dynamic_ntk:factor=2,policy=fixed,length=4096", "dynamic_ntk:factor=2", "4,096 tokens"),
    ("self_extend:group_size=4,window=16", "yarn:factor=4", CANNOT_TELL),
]


@pytest.mark.parametrize("engine", ["vllm", "llama.cpp"])
@pytest.mark.parametrize(("served", "method", "verdict"), FAULTS)
def test_a_fault_is_named_as_what_it_is_or_not_at_all(checkpoint, served, method, verdict, engine):
    found = asked(checkpoint, served, method, engine)
    assert found["verdict"] == CANNOT_TELL or found["verdict"].endswith(verdict)
    if engine == "vllm":
        assert found["verdict"].endswith(verdict)
    assert not found["passed"]


def test_what_engines_do_instead_of_dynamic_is_named(checkpoint):
    """SGLang's constant: the base times (a a - (a - 1))^(d / (d - 2)), a = 2, d = 16."""
    constant = f"abf:rope_theta={10000 * 3 ** (16 / 14)!r}"
    found = asked(checkpoint, constant, "dynamic_ntk:factor=2", "sglang")
    assert found["verdict"] == "dynamic_ntk:factor=2, dynamic as a constant"
    assert found["finding"]["id"] == "dynamic-constant"


def test_a_table_that_is_too_short_departs_where_it_ends(checkpoint):
    """Behind the last row stands another method's."""
    _, model = checkpoint
    right, wrong = predicting(model, "yarn:factor=4"), predicting(model, "none")

    def short(ids):
        return torch.cat([right(ids)[:64], wrong(ids)[64:]])

    found = asked(checkpoint, short, "yarn:factor=4")
    assert found["verdict"] == CANNOT_TELL
    # One row may agree by chance.
    assert 64 <= found["departs_at"] <= 66


@pytest.mark.parametrize(
    ("engine", "finding"), [("vllm", "short-table"), ("openai", "not-a-number")]
)
def test_nan_is_a_finding(checkpoint, engine, finding):
    """vLLM builds a table of 32 rows for this config, which the audit knows."""

    def beyond(logprobs):
        logprobs[50:] = torch.nan
        return logprobs

    _, model = checkpoint
    found = asked(checkpoint, predicting(model, "yarn:factor=4", beyond), "yarn:factor=4", engine)
    assert found["verdict"] == CANNOT_TELL
    assert found["departs_at"] == 50
    assert found["finding"]["id"] == finding
    assert found["undefined"] == LENGTH - 1 - 50
    assert any(None in each["by_position"] for each in found["candidates"])


@pytest.mark.parametrize("size", [1e-4, 0.015])
def test_rounding_of_weights_and_cache_is_no_departure(checkpoint, size):
    """bfloat16 moves log-probabilities by about 0.015 nats, an f16 cache by 3e-4."""
    generator = torch.Generator().manual_seed(3)

    def rounded(logprobs):
        noise = torch.randn(logprobs.shape, generator=generator, dtype=torch.float64)
        return (logprobs + size * noise).log_softmax(dim=-1)

    _, model = checkpoint
    found = asked(checkpoint, predicting(model, "yarn:factor=4", rounded), "yarn:factor=4")
    assert found["verdict"] == "yarn:factor=4"


@pytest.mark.parametrize("engine", ENGINES)
def test_random_numbers_are_nobodys(checkpoint, engine):
    generator = torch.Generator().manual_seed(5)

    def lies(ids):
        return torch.randn(len(ids), 97, generator=generator).double().log_softmax(dim=-1)

    found = asked(checkpoint, lies, "yarn:factor=4", engine)
    assert found["verdict"] == CANNOT_TELL
    assert not found["passed"]


def test_other_weights_are_nobodys(checkpoint):
    other = tiny(dtype=torch.float32, num_hidden_layers=2)
    with torch.no_grad():
        other.lm_head.weight.mul_(-1)
    found = asked(checkpoint, predicting(other, "yarn:factor=4"), "yarn:factor=4")
    assert found["verdict"] == CANNOT_TELL


def test_every_departure_names_kinds_of_finding():
    from ropewalk.engines.findings.table import FINDINGS

    assert {*UNSCALED, *(name for each in INSTEAD for name in each.findings)} <= set(FINDINGS)


def test_the_model_is_asked_for_no_more_than_the_server_admits(checkpoint):
    source, model = checkpoint
    with serving(VLLM("vllm", predicting(model, "none"), context=64)) as url:
        found = verify_served(source, url)
        assert found["length"] == 63
        with pytest.raises(RopewalkError, match="admits prompts of at most 63 tokens"):
            verify_served(source, url, length=64)


def test_a_server_that_is_not_there_is_said_before_weights_are_loaded():
    with pytest.raises(RopewalkError, match="cannot be reached"):
        verify_served("./no-such-model", "http://127.0.0.1:9")


def test_the_command_prints_the_document_and_says_by_its_status_whether_it_passed(
    checkpoint, capsys, tmp_path
):
    source, model = checkpoint
    with serving(VLLM("vllm", predicting(model, "yarn:factor=4"))) as url:
        words = ["verify", source, "--served", url, "--length", str(LENGTH)]
        assert main([*words, "--method", "yarn:factor=4", "--json", "--out", str(tmp_path)]) == 0
        found = json.loads(capsys.readouterr().out)
        keys = {"engine", "asked", "verdict", "departs_at", "candidates", "finding"}
        assert keys <= set(found)
        assert json.loads((tmp_path / "served.json").read_text("utf-8")) == found
        assert {path.name for path in tmp_path.iterdir()} == {
            "served.json",
            "served.png",
            "served.svg",
        }
        assert main([*words, "--method", "none"]) == 1
        shown = capsys.readouterr().out
    assert "The server computes yarn:factor=4, not none" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--served", "ftp://x"], "expected a URL like"),
        (["--served", "http://u:p@x"], "without a password"),
        (["--served", "http://127.0.0.1:9"], "cannot be reached"),
        (["--served", "http://127.0.0.1:9", "--stock"], "--stock with --served"),
        (["--served", "http://127.0.0.1:9", "--engine", "vlm"], "did you mean vllm"),
        (["--engine", "vllm"], "without --served"),
        (["--served", "http://127.0.0.1:9", "--method", "none", "--method", "yarn"], "twice"),
        (["--served", "http://127.0.0.1:9", "--method", "yearn"], "did you mean yarn"),
    ],
)
def test_bad_input_is_one_line(checkpoint, words, said, capsys):
    assert main(["verify", checkpoint[0], *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
