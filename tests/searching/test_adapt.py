"""Search, tune, search again, a short list: the checkpoint at the end, and its table."""

import json

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


def test_a_budget_of_nothing_is_told_before_the_search(tmp_path, texts):
    given = {"texts": [texts[0]], "heldout": [texts[1]], "out": tmp_path / "longer"}
    with pytest.raises(rw.RopewalkError, match="expected seconds above 0"):
        rw.adapt(toy_model(), 1024, budget=0, **given)


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
