"""Search, tune, search again, a short list: the checkpoint at the end, and its table."""

import json
import shutil
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

import ropewalk as rw
from ropewalk.adapting.progressive import STAGES
from ropewalk.cli.main import main
from ropewalk.core.passes import FullPass
from ropewalk.data import demo_book, toy_model
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.stretches import parts, stretches
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.opening.checkpoints import open_checkpoint
from training.tuning_inputs import checkpoint, text


@pytest.fixture
def texts(tmp_path):
    """To train on, and held out."""
    book = demo_book().read_text("utf-8")
    train, kept = tmp_path / "train.txt", tmp_path / "kept.txt"
    train.write_text(book[30_000:90_000], "utf-8")
    kept.write_text(book[:30_000], "utf-8")
    return train, kept


@pytest.mark.slow
def test_a_model_goes_through_all_stages_and_the_checkpoint_states_both_lists(tmp_path, texts):
    train, held = texts
    words = {"tune_length": 512, "steps": 3, "evaluations": 3, "documents": (1, 1, 2)}
    out, told = tmp_path / "longer", []

    def progress(work, share):
        told.append((work, share))

    document = rw.adapt(
        toy_model(), 1024, texts=[train], heldout=[held], out=out, progress=progress, **words
    )
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert {work.partition(":")[0] for work, _ in told} == {*STAGES, "effects"}
    assert any("step 2/3" in work for work, _ in told)
    block = json.loads((out / "checkpoint" / "config.json").read_text())["rope_parameters"]
    lists = {
        name: json.loads((out / name / "factors.json").read_text()) for name in ("short", "again")
    }
    assert block["rope_type"] == "longrope"
    assert (block["short_factor"], block["long_factor"]) == (lists["short"], lists["again"])
    assert block["original_max_position_embeddings"] == 256

    # A list for short texts stands there only where it beats what serves all lengths.
    kept = document["stages"]["short"].startswith("nothing better than the list of the whole")
    assert (lists["short"] == lists["again"]) == kept

    # The stock model computes what the table says of the last stage, on either side of L0.
    book = Document.read(held, open_checkpoint(toy_model()).require_tokenizer())
    tested = parts([stretches(book, 1024)], (1, 1, 2)).test
    stock = AutoModelForCausalLM.from_pretrained(out / "checkpoint", dtype=torch.float32)
    last, first = document["effects"][-1], document["effects"][0]
    for length in (256, 1024):
        ids = [each.ids[-length:] for each in tested]
        with torch.no_grad():
            logits = [stock(each[None]).logits[0, -129:-1].double() for each in ids]
        nats = [
            torch.nn.functional.cross_entropy(each, own[-128:]).item()
            for each, own in zip(logits, ids, strict=True)
        ]
        assert last["losses"][str(length)] == pytest.approx(sum(nats) / 2, abs=1e-4)

    # And of the first stage, what the model gives as it was.
    scorer = TransformersScorer(open_checkpoint(toy_model()).model)
    before = [scorer.token_losses(each.ids, 1024 - 128, FullPass()).mean() for each in tested]
    assert first["losses"]["1024"] == pytest.approx(float(sum(before) / 2), abs=1e-4)

    again = rw.adapt(toy_model(), 1024, texts=[train], heldout=[held], out=out, **words)
    assert {**again, "seconds": 0} == {**document, "seconds": 0}


def test_a_text_that_cannot_be_trained_on_is_told_before_the_search(tmp_path, texts):
    empty, out = tmp_path / "empty.txt", tmp_path / "longer"
    empty.write_text("")
    with pytest.raises(rw.RopewalkError, match="is empty"):
        rw.adapt(toy_model(), 1024, texts=[empty], heldout=[texts[1]], out=out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("which", "tokens", "said"),
    [
        ("texts", 400, "expected at least 512, a window"),
        ("heldout", 7_500, "expected at least 10"),  # enough for the first search
    ],
)
def test_a_text_too_short_for_a_later_stage_is_told_before_the_search(
    tmp_path, texts, which, tokens, said
):
    """Training is at 512 tokens; the second search wants ten stretches of 1,024."""
    short, out = tmp_path / "short.txt", tmp_path / "longer"
    whole = Document.read(demo_book(), open_checkpoint(toy_model()).require_tokenizer())
    text = demo_book().read_text("utf-8")
    short.write_text(text[: len(text) * tokens // len(whole)], "utf-8")
    given = {"texts": [texts[0]], "heldout": [texts[1]], which: [short]}
    with pytest.raises(rw.RopewalkError, match=said):
        rw.adapt(toy_model(), 1024, tune_length=512, out=out, **given)
    assert not out.exists()


@pytest.mark.parametrize(
    ("budget", "said"), [(0, "seconds above 0"), (0.01, r"50% are for the training.*give at least")]
)
def test_a_budget_for_nothing_is_told_before_the_search(tmp_path, texts, budget, said):
    given = {"texts": [texts[0]], "heldout": [texts[1]], "out": tmp_path / "longer"}
    with pytest.raises(rw.RopewalkError, match=said):
        rw.adapt(toy_model(), 1024, tune_length=512, budget=budget, **given)
    assert not (tmp_path / "longer").exists()


def test_what_a_training_lacks_is_told_before_the_search(tmp_path, texts, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    given = {"texts": [texts[0]], "heldout": [texts[1]], "out": tmp_path / "longer"}
    with pytest.raises(rw.RopewalkError, match=r"ropewalk\[tune\]"):
        rw.adapt(toy_model(), 1024, tune_length=512, **given)
    assert not (tmp_path / "longer").exists()


@pytest.mark.parametrize("folder", ["tuned", "checkpoint"])
def test_a_checkpoint_of_somebody_is_told_before_the_search(tmp_path, texts, folder):
    out = tmp_path / "longer"
    shutil.copytree(toy_model(), out / folder)
    with pytest.raises(rw.RopewalkError, match="holds a checkpoint already"):
        rw.adapt(toy_model(), 1024, tune_length=512, texts=[texts[0]], heldout=[texts[1]], out=out)
    assert [each.name for each in out.iterdir()] == [folder]


def test_a_copy_of_a_text_that_is_trained_on_is_not_held_out(tmp_path, texts):
    copy = shutil.copy(texts[0], tmp_path / "copy.txt")
    with pytest.raises(rw.RopewalkError, match="to train on and to measure on"):
        rw.adapt(toy_model(), 1024, texts=texts[0], heldout=copy, out=tmp_path / "longer")
    assert not (tmp_path / "longer").exists()


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    """A model that ships with YaRN, through all stages: its place, its texts, the words, what was
    said and where.
    """
    place = tmp_path_factory.mktemp("scaled")
    yarn = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 2.0}
    block = {**yarn, "original_max_position_embeddings": 32}
    model = checkpoint(place / "model", rope_parameters=block, max_position_embeddings=64)
    kept = text(place, "kept.txt", 2_000, 0)
    words = {
        "texts": text(place, "train.txt", 4_000),
        "heldout": kept,
        "out": place / "longer",
        "tune_length": 128,
        "steps": 1,
        "evaluations": 1,
        "documents": (1, 1, 2),
    }
    return model, kept, words, rw.adapt(model, 256, **words)


def test_a_model_as_it_was_is_what_it_ships_with(scaled):
    model, kept, _, document = scaled
    book = Document.read(kept, open_checkpoint(model).require_tokenizer())
    tested = parts([stretches(book, 256)], (1, 1, 2)).test
    stock = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        logits = [stock(each.ids[None]).logits[0, -17:-1].double() for each in tested]
    nats = [
        torch.nn.functional.cross_entropy(each, own.ids[-16:]).item()
        for each, own in zip(logits, tested, strict=True)
    ]
    said = document["effects"][0]["losses"]["256"]
    assert said == pytest.approx(sum(nats) / 2, abs=1e-4)


def test_the_card_says_that_the_weights_were_tuned(scaled):
    card = (scaled[2]["out"] / "checkpoint" / "README.md").read_text()
    assert "The weights of model, tuned for 1 steps at 128 tokens" in card
    assert "Nothing was trained" not in card


def test_a_checkpoint_of_other_lists_is_not_taken_for_what_was_found(scaled):
    model, _, words, _ = scaled
    config = words["out"] / "checkpoint" / "config.json"
    stated = json.loads(config.read_text())
    stated["rope_parameters"]["long_factor"][-1] *= 2
    config.write_text(json.dumps(stated))
    with pytest.raises(rw.RopewalkError, match="states other lists than were found now"):
        rw.adapt(model, 256, **words)


def test_texts_that_are_both_trained_on_and_held_out_are_refused(capsys, tmp_path, texts):
    train, _ = texts
    words = ["--text", str(train), "--heldout", str(train), "--out", str(tmp_path / "a")]
    assert main(["adapt", str(toy_model()), "--length", "4x", *words]) == 2
    assert "trained on and held out" in capsys.readouterr().err


def test_a_training_length_stands_between_the_trained_length_and_the_length(
    capsys, tmp_path, texts
):
    train, kept = texts
    words = ["--text", str(train), "--heldout", str(kept), "--out", str(tmp_path / "a")]
    for length, tuned in (("2x", "4x"), ("4x", "256")):
        asked = ["adapt", str(toy_model()), "--length", length, "--tune-length", tuned, *words]
        assert main(asked) == 2
        assert "in this order" in capsys.readouterr().err
