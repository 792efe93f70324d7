"""Searches of real models: documents, files, the command line, and bad input."""

import itertools
import json

import pytest
import torch

import ropewalk as rw
from recipes.families.sharpened import tiny, token_ids
from ropewalk.cli.main import main
from ropewalk.core.passes import FullPass
from ropewalk.data import demo_book, toy_model
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.stretches import parts, stretches
from ropewalk.evaluation.tasks.needle_loss import NeedleLoss
from ropewalk.evaluation.tasks.table import Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import Session
from ropewalk.methods.spec import parse_spec
from ropewalk.opening.checkpoints import ModelInMemory, open_checkpoint
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measured.bench import spec_of

SMALL = ["--length", "512", "--documents", "2", "1", "2", "--tail-tokens", "64"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The beginning of the book: enough for a few stretches."""
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(demo_book().read_text("utf-8")[:40_000], "utf-8")
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory, text):
    """A search of the toy model, as its document says, its folder, and what it told."""
    out, told = tmp_path_factory.mktemp("search") / "found", []
    words = {"documents": (2, 1, 2), "evaluations": 4, "tail_tokens": 64}
    words["progress"] = lambda work, share: told.append((work, share))
    document = rw.search(toy_model(), 512, texts=[text], out=out, **words)
    return document, out, told


def numbered(count):
    return Document(
        name="numbers", ids=torch.arange(count), byte_lengths=torch.ones(count, dtype=torch.int64)
    )


# Documents.


@pytest.mark.parametrize("sizes", [(8, 8, 24), (2, 2, 6), (1, 1, 2)])
def test_parts_share_no_token_and_stand_in_the_order_of_the_text(sizes):
    texts = [stretches(numbered(10 * count), 10) for count in (40, 25)]
    dealt = parts(texts, sizes)
    every = (dealt.search, dealt.choice, dealt.test)
    assert tuple(map(len, every)) == sizes
    for text in texts:
        places = [[each.ids[0].item() for each in part if each in text] for part in every]
        assert all(len(part) > 0 for part in places) or sum(sizes) < 8
        for before, after in itertools.pairwise(places):
            assert max(before, default=-1) < min(after, default=10**9)
    tokens = [(id(text), i) for part in every for text in part for i in text.ids.tolist()]
    assert len(tokens) == len(set(tokens)) == 10 * sum(sizes)


def test_heldout_texts_are_the_test_part_alone():
    first, second = stretches(numbered(200), 10), stretches(numbered(300), 10)
    dealt = parts([first], (6, 6, 12), [second])
    assert all(each in first for each in (*dealt.search, *dealt.choice))
    assert all(each in second for each in dealt.test)


# What a search gives.


def test_what_is_handed_out_is_what_the_document_says(found):
    document, out, _ = found
    factors = json.loads((out / "factors.json").read_text())
    assert factors == document["factors"]
    assert all(each >= 1 for each in factors)
    assert json.loads((out / "search.json").read_text()) == document
    assert {"factors.png", "search.png", "short_factors.json"} <= {p.name for p in out.iterdir()}
    rows = {row["name"]: row for row in document["rows"]}
    assert rows[document["winner"]]["factors"] == factors
    assert document["found"] == (rows[document["winner"]] is not rows[document["best_fixed"]])


def test_progress_never_falls_from_the_first_schedule_to_the_test(found):
    *_, told = found
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] == 0 < shares[-1] <= 1
    parts = [work.partition(",")[0] for work, _ in told]
    assert list(dict.fromkeys(parts)) == ["fixed schedules", "ramp", "choice", "test"]


def test_the_spec_of_the_winner_turns_pairs_as_its_factors_say(found):
    document, *_ = found
    config = json.loads((toy_model() / "config.json").read_text())
    geometry = rw.RopeGeometry.from_config(config)
    wanted = geometry.inv_freq() / torch.tensor(document["factors"], dtype=torch.float64)
    everywhere = rw.encoding(document["method"], geometry)
    assert everywhere.settled_length is not None
    for length in (256, 512):
        torch.testing.assert_close(everywhere.rotation.inv_freq(length), wanted)
    assert everywhere.rotation.attention_factor(512) == document["attention_factor"]
    by_length = rw.encoding(document["method_by_length"], geometry)
    torch.testing.assert_close(by_length.rotation.inv_freq(256), geometry.inv_freq())
    torch.testing.assert_close(by_length.rotation.inv_freq(512), wanted)
    assert by_length.rotation.attention_factor(256) == 1


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
def test_engines_take_what_was_found(found, engine, tmp_path):
    """The schedule that the way chose, whether or not it won."""
    document, *_ = found
    chosen = document["rows"][0]
    path = tmp_path / "factors.json"
    path.write_text(json.dumps(chosen["factors"]))
    method = (
        f"longrope:short_factor=@{path},long_factor=@{path},factor=2,"
        f"attention_factor={chosen['attention_factor']},policy=fixed,length=512"
    )
    block = rw.export(toy_model(), method, engine)["config"]["rope_parameters"]
    assert block["rope_type"] == "longrope"
    assert block["long_factor"] == block["short_factor"] == chosen["factors"]
    magnitude = block["attention_factor" if engine == "transformers" else "long_mscale"]
    assert magnitude == pytest.approx(chosen["attention_factor"])


def test_the_loss_in_the_table_is_the_loss_of_the_model(found, text):
    """By hand: the model, extended, on the test documents; last tokens of each."""
    document, *_ = found
    loaded = open_checkpoint(toy_model())
    book = Document.read(text, loaded.require_tokenizer())
    tested = parts([stretches(book, 512)], (2, 1, 2)).test
    row = next(row for row in document["rows"] if row["name"] == "linear:factor=2")
    with rw.extend(loaded.model, "linear:factor=2"):
        scorer = TransformersScorer(loaded.model)
        losses = [scorer.token_losses(each.ids, 448, FullPass()).mean().item() for each in tested]
    if row["test"] is not None:
        assert row["test"] == pytest.approx(sum(losses) / 2, abs=2e-5)
    else:  # dropped before: far above the best on the search documents
        assert row["search"] is None or row["search"] > document["rows"][0]["search"]


def test_a_second_run_measures_nothing_and_says_the_same(found, text):
    document, out, _ = found
    cells = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    again = rw.search(
        toy_model(), 512, texts=[text], out=out, documents=(2, 1, 2), evaluations=4, tail_tokens=64
    )
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == cells
    assert {**again, "seconds": 0} == {**document, "seconds": 0}


def test_the_command_prints_one_document_and_ends_with_0_whatever_was_found(capsys, tmp_path, text):
    words = ["search", str(toy_model()), *SMALL, "--text", str(text), "--out", str(tmp_path / "a")]
    assert main([*words, "--evaluations", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"].startswith(
        f"{document['winner']} beats" if document["found"] else "nothing better than"
    )
    assert (tmp_path / "a" / "factors.json").is_file()
    assert main([*words, "--evaluations", "1"]) == 0
    shown = capsys.readouterr().out
    assert document["verdict"][1:] in shown
    used = "longrope:" if document["found"] else f"{document['best_fixed']}  (factors.json holds"
    assert f"Use:   --method {used}" in shown


@pytest.mark.slow
def test_a_short_budget_ends_in_time_and_still_hands_out_factors(tmp_path, text):
    document = rw.search(
        toy_model(), 512, texts=[text], out=tmp_path / "b", budget=1.0, tail_tokens=64
    )
    assert document["ended"] == "budget"
    assert document["documents"] == {"search": 2, "choice": 2, "test": 6}
    assert len(json.loads((tmp_path / "b" / "factors.json").read_text())) == 32


# Objectives.


@pytest.mark.parametrize("objective", ["needle", "longppl", "loss+0.5*needle"])
def test_other_objectives_are_measured(tmp_path, text, objective):
    document = rw.search(
        toy_model(), 400, texts=[text], out=tmp_path / "c", objective=objective,
        documents=(1, 1, 2), evaluations=1,
    )  # fmt: skip
    assert document["objective"] == objective
    assert document["rows"][0]["test"] > 0
    terms = objective.count("+") + 1
    assert document["token_evaluations"] == document["units"] * 400 * terms


@pytest.mark.slow
def test_a_weighted_sum_is_the_sum_of_its_terms(tmp_path, text):
    values = {}
    for objective in ("loss", "needle", "loss+0.5*needle"):
        document = rw.search(
            toy_model(), 400, texts=[text], out=tmp_path / "d", objective=objective,
            documents=(1, 1, 2), evaluations=1,
        )  # fmt: skip
        ramp = document["rows"][1]
        values[objective] = ramp["test"]
    wanted = values["loss"] + 0.5 * values["needle"]
    assert values["loss+0.5*needle"] == pytest.approx(wanted, abs=1e-9)


def test_needle_loss_is_that_of_the_digits_after_the_prompt(text):
    loaded = open_checkpoint(toy_model())
    tokens = Tokens.of(loaded.require_tokenizer())
    materials = Materials(tokens=tokens, texts=[text.read_text("utf-8")])
    task = NeedleLoss(generator=generator("needle", materials), tokens=tokens, numbers=range(2, 4))
    scorer = TransformersScorer(loaded.model)
    units = task.units(scorer, [400], FullPass(), batch=1, advance=lambda cost: None)[400]
    assert [unit.document for unit in units] == [2, 3]
    prompt, answer = task._trial(400, 2)
    text = tokens.text(prompt)
    assert text.index("special magic numbers") < len(text) / 4  # hidden at the start
    with torch.no_grad():
        logits = loaded.model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    nats = [
        -logits[len(prompt) - 1 + i].log_softmax(-1)[token].item()
        for i, token in enumerate(answer)
        if any(map(str.isdigit, tokens.text([token])))
    ]
    above, below = units[0].values["loss"]
    assert below == len(nats) >= 2
    assert above == pytest.approx(sum(nats), rel=1e-5)


@pytest.mark.slow
def test_a_limit_at_the_trained_length_keeps_out_what_costs_more(tmp_path, text):
    document = rw.search(
        toy_model(), 512, texts=[text], out=tmp_path / "e", short_within=1e-3,
        documents=(2, 1, 2), evaluations=2, tail_tokens=64,
    )  # fmt: skip
    loaded = open_checkpoint(toy_model())
    book = Document.read(text, loaded.require_tokenizer())
    searched = parts([stretches(book, 512)], (2, 1, 2)).search
    session = Session(loaded.model)
    costs = []
    for candidate in (Candidate.of(document["factors"], document["attention_factor"]), None):
        spec = parse_spec("none") if candidate is None else spec_of(candidate, 256, 512)
        scorer = session.use(spec, 256, FullPass())
        ids = [each.ids[-256:] for each in searched]
        costs.append(
            sum(scorer.token_losses(each, 192, FullPass()).mean().item() for each in ids) / 2
        )
    assert costs[0] - costs[1] <= 1e-3 + 1e-4


# Gradients through the waves.


def test_gradients_through_the_waves_are_those_of_finite_differences():
    """Central ones; the library's norms are float32, which bounds the step from below."""
    torch.manual_seed(0)
    model = tiny(dtype=torch.float64)
    session = Session(model)
    ids = token_ids(1, 48)[0]
    pairs = session.model.config.head_dim // 2
    divisors, magnitude, step = [1 + 0.4 * i for i in range(pairs)], 1.1, 1e-4

    def scorer(candidate):
        return session.use(spec_of(candidate, 32, 48), 48, FullPass())

    def loss(changed, size=magnitude):
        candidate = Candidate(divisors=tuple(changed), magnitude=size)
        return scorer(candidate).token_losses(ids, 30, FullPass()).sum().item()

    slope = scorer(Candidate(divisors=tuple(divisors), magnitude=magnitude)).wave_slope(ids, 30)
    grown = torch.tensor(step).exp().item()
    for pair in range(pairs):
        up, down = ([*divisors] for _ in range(2))
        up[pair], down[pair] = divisors[pair] * grown, divisors[pair] / grown
        wanted = (loss(up) - loss(down)) / (2 * step)
        assert slope.divisors[pair].item() == pytest.approx(wanted, rel=2e-3, abs=2e-2)
    wanted = (loss(divisors, magnitude * grown) - loss(divisors, magnitude / grown)) / (2 * step)
    assert slope.magnitude == pytest.approx(wanted, rel=2e-3, abs=2e-2)
    assert slope.losses.sum().item() == pytest.approx(loss(divisors), rel=1e-6)
    assert all(each.grad is None and each.requires_grad for each in model.parameters())
    session.close()


def test_gradients_are_refused_where_there_is_more_than_one_rotation():
    model = tiny()
    session = ModelInMemory(model).open()
    scorer = session.use(parse_spec("rerope:window=8"), 48, FullPass())
    with pytest.raises(rw.RopewalkError, match="one rotation"):
        scorer.wave_slope(token_ids(1, 48)[0], 30)
    session.close()
