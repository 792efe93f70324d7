"""Losses and tasks through a server are those of the model behind it, in each engine's form."""

import json

import pytest
import torch

import ropewalk as rw
from fake_server import ENGINES, VLLM, Echoing, GreedyText, LlamaCpp, serving
from ropewalk.api import compare
from ropewalk.cli.main import main
from ropewalk.data import demo_book, demo_model, toy_model
from ropewalk.integrations.endpoints.llama_cpp import TOP
from ropewalk.integrations.loading import load_model

LOSSES = {"lengths": [32, 48], "tail_tokens": 4, "windows": 2}
TASK = {"lengths": [64], "tasks": ["induction"], "trials": 2}
FIGURES = ("nll", "ci95", "tokens_scored", "bits_per_byte")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts") / "text.txt"
    place.write_text(demo_book().read_text("utf-8")[20_000:24_000], "utf-8")
    return place


@pytest.fixture(scope="module")
def served(request):
    """(place, predict, tokenizer) of the demo model, or of the toy model that retrieves."""
    place = str(request.param())
    loaded = load_model(place)

    @torch.no_grad()
    def predict(ids):
        return loaded.model(ids[None]).logits[0].double().log_softmax(-1)

    return place, predict, loaded.tokenizer


@pytest.fixture(scope="module")
def expected(served, text, tmp_path_factory):
    """What a model here computes, as its config says."""
    place, folder = served[0], tmp_path_factory.mktemp("here")
    if place == str(toy_model()):
        return compare(place, methods="native", out=folder, **TASK).records
    return compare(place, methods="native", texts=text, out=folder, **LOSSES).records


def engine_of(name, served):
    kind, owner = ENGINES[name]
    _, predict, tokenizer = served
    more = {"texts": tokenizer} if kind is Echoing else {}
    return kind(owner, predict, ends=tokenizer.eos_token_id or -1, **more)


def through(engine, place, folder, **request):
    with serving(engine) as url:
        return compare(place, served=url, timeout=60.0, out=folder, **request)


@pytest.mark.parametrize("served", [demo_model], indirect=True)
@pytest.mark.parametrize("engine", ENGINES)
def test_losses_are_those_of_the_model_behind_it(served, expected, engine, text, tmp_path):
    found = through(engine_of(engine, served), served[0], tmp_path, texts=text, **LOSSES)
    assert [cell["method"] for cell in found.records] == ["native"] * 2
    for ours, theirs in zip(found.records, expected, strict=True):
        assert ours["status"] == "ok"
        for name in FIGURES:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
    assert found.document["model"] == f"m on {engine}"


@pytest.mark.parametrize("served", [toy_model], indirect=True)
@pytest.mark.parametrize("engine", ENGINES)
def test_tasks_are_those_of_the_model_behind_it(served, expected, engine, tmp_path):
    """What text says of random tokens may be other tokens, so that generation differs there."""
    (ours,) = through(engine_of(engine, served), served[0], tmp_path, **TASK).records
    (theirs,) = expected
    assert ours["status"] == "ok"
    assert ours["forced"]["loss"] == pytest.approx(theirs["forced"]["loss"], abs=1e-5)
    assert {**ours["forced"], "loss": 0, "ci95": 0} == {**theirs["forced"], "loss": 0, "ci95": 0}
    if engine != "openai":
        assert ours["generation"] == theirs["generation"]


@pytest.mark.parametrize("served", [demo_model], indirect=True)
def test_a_batch_is_asked_for_at_once_and_a_cell_once(served, text, tmp_path):
    engine = engine_of("vllm", served)
    with serving(engine) as url:
        one = compare(served[0], served=url, texts=text, out=tmp_path / "a", **LOSSES)
        asked = len(engine.asked)
        again = compare(served[0], served=url, texts=text, out=tmp_path / "a", **LOSSES)
        assert len(engine.asked) == asked
        two = compare(served[0], served=url, texts=text, out=tmp_path / "b", batch=2, **LOSSES)
    figures = [[cell["nll"] for cell in each.records] for each in (one, again, two)]
    assert figures[0] == figures[1] == figures[2]


@pytest.mark.parametrize("served", [demo_model], indirect=True)
def test_llama_cpp_is_asked_for_every_token_where_one_is_not_among_the_likeliest(
    served, text, tmp_path
):
    engine = engine_of("llama.cpp", served)
    through(engine, served[0], tmp_path, texts=text, **{**LOSSES, "tail_tokens": 12})
    counts = {body["n_probs"] for body in engine.asked}
    assert TOP in counts
    assert max(counts) > 10**6


@pytest.mark.parametrize("served", [demo_model], indirect=True)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modes": "decode"}, "mode decode of a running server"),
        ({"lengths": [5000]}, "the server admits prompts of at most 4,095 tokens"),
    ],
)
def test_what_a_server_cannot_do_stands_in_its_cell(served, changes, reason, text, tmp_path):
    book = {} if "lengths" in changes else {"texts": text}
    request = {**LOSSES, **book, **changes}
    found = through(engine_of("vllm", served), served[0], tmp_path, **request)
    assert {cell["status"] for cell in found.records} == {"failed"}
    assert all(reason in cell["reason"] for cell in found.records)


@pytest.mark.parametrize("served", [demo_model], indirect=True)
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (GreedyText, "tells no log-probabilities of a prompt"),
        (VLLM, "a log-probability that is no number"),
    ],
)
def test_a_server_that_tells_too_little_is_told(served, kind, words, text, tmp_path):
    nan = torch.full((1, 5000), float("nan"), dtype=torch.float64)
    if kind is VLLM:
        engine = VLLM("vllm", lambda ids: nan.expand(len(ids), -1))
    else:
        engine = GreedyText("someone", served[1], texts=served[2])
    found = through(engine, served[0], tmp_path, texts=text, **LOSSES)
    assert all(words in cell["reason"] for cell in found.records)


@pytest.mark.parametrize("served", [demo_model], indirect=True)
def test_a_server_computes_one_method(served, tmp_path):
    with pytest.raises(rw.RopewalkError, match="it computes the one method"):
        through(LlamaCpp("llamacpp", None), served[0], tmp_path, methods=["none", "yarn"], **LOSSES)


@pytest.mark.parametrize("served", [demo_model], indirect=True)
def test_the_command(served, text, tmp_path, capsys):
    """Lengths that are not named are those that the server admits."""
    engine = engine_of("vllm", served)
    engine.context = 300
    with serving(engine) as url:
        words = ["--served", url, "--text", str(text), "--windows", "1", "--tail-tokens", "4"]
        where = ["--out", str(tmp_path), "--method", "yarn:factor=4", "--json"]
        assert main(["compare", served[0], *words, *where]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(cell["method"], cell["length"]) for cell in document["cells"]] == [
        ("yarn:factor=4", 128),
        ("yarn:factor=4", 256),
    ]
    assert main(["compare", served[0], "--engine", "vllm"]) == 2
    assert "engine vllm without a server" in capsys.readouterr().err
