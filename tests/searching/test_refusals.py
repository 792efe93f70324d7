"""What a search refuses, in one line."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.data import demo_book, toy_model

SMALL = ["--length", "512", "--documents", "2", "1", "2", "--tail-tokens", "64"]


def refusal(capsys, *words):
    assert main(["search", *words]) == 2
    return capsys.readouterr().err


def test_bad_words_are_told_before_a_model_is_loaded(capsys):
    for words, said in [
        (["--length", "1"], "at least 2"),
        (["--length", "8x", "--way", "ramps"], "did you mean ramp"),
        (["--length", "8x", "--objective", "loss+0*needle"], "above 0"),
        (["--length", "8x", "--objective", "ppl"], "expected loss, needle, longppl"),
        (["--length", "8x", "--way", "gradient", "--objective", "needle"], "loss, which alone"),
        (["--length", "8x", "--documents", "0", "1", "2"], "at least 1"),
        (["--length", "8x", "--text", "nowhere.txt"], "no such file"),
        (["--length", "8x", "--seed", "-1"], "seed=-1"),
        (["--length", "8x", "--short-within", "nan"], "short_within=nan"),
    ]:
        assert said in refusal(capsys, *words), words


def test_a_text_shorter_than_the_length_is_told(capsys, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("Call me Ishmael. " * 40)
    said = refusal(
        capsys, str(toy_model()), "--length", "512", "--text", str(short), "--out", str(tmp_path)
    )
    assert "longer --text" in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [short]  # the folder is free for a better command


def test_a_tail_longer_than_the_length_leaves_no_folder(capsys, tmp_path):
    out = tmp_path / "new"
    words = ["--length", "512", "--tail-tokens", "600", "--out", str(out)]
    assert "fewer scored tokens" in refusal(capsys, str(toy_model()), *words)
    assert not out.exists()


@pytest.mark.parametrize("budget", ["-1", "0", "nan"])
def test_no_seconds_are_no_budget(capsys, tmp_path, budget):
    words = [*SMALL, "--budget", budget, "--out", str(tmp_path / "new")]
    assert "seconds above 0" in refusal(capsys, str(toy_model()), *words)


def test_an_absurd_length_is_told_as_one(capsys):
    assert "at most 2^40" in refusal(capsys, str(toy_model()), "--length", str(10**20))


def test_a_length_within_the_trained_one_is_told(capsys, tmp_path):
    said = refusal(capsys, str(toy_model()), "--length", "1x", "--out", str(tmp_path / "f"))
    assert "within the trained length 256" in said


def test_a_model_without_a_tokenizer_is_told(capsys, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(toy_model(), bare, ignore=shutil.ignore_patterns("tokenizer*"))
    assert "no tokenizer" in refusal(capsys, str(bare), *SMALL)


def test_a_loss_that_is_not_finite_is_told(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(toy_model(), broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 3e38)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(rw.RopewalkError, match=r"not finite|its output"):
        rw.search(broken, 512, texts=[demo_book()], out=tmp_path / "g", documents=(2, 1, 2))
