"""A tuning that is killed, runs out of time or of finite numbers, or is asked for nonsense."""

import json
import random
import re
import shutil
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import ropewalk as rw
from recipes.kill.killing import CHILDREN
from ropewalk.adapting.stages import Stages
from ropewalk.cli.main import main
from ropewalk.training.claiming import claimed
from ropewalk.training.tuning.fitting import last_whole
from ropewalk.training.tuning.run import Clock, TuningFolder
from ropewalk.training.tuning.tuner import WHOLE, Tuner
from training.tuning_inputs import LENGTH, TRAINED, checkpoint, quick_tune, text


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return text(tmp_path_factory.mktemp("texts"))


def in_child(words):
    torch.set_num_threads(1)
    quick_tune(**words)


def started(words):
    child = CHILDREN.Process(target=in_child, args=(words,))
    child.start()
    return child


def killed_at(words, file):
    """Start, and kill as soon as a file is there; whether it still ran then."""
    child = started(words)
    while child.is_alive() and not file.exists():
        time.sleep(0.002)
    alive = child.is_alive()
    child.kill()
    child.join()
    return alive


@pytest.fixture(scope="module")
def words(base, book):
    """Of a run with a checkpoint after every step."""
    return {"source": base, "method": "linear:factor=4", "texts": [book], "steps": 6}


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "new"
    CHILDREN.set_forkserver_preload(["ropewalk.api.tuning", "transformers.models.llama", "peft"])
    child = started({**words, "out": folder})
    child.join()
    assert child.exitcode == 0
    return load_file(folder / "model.safetensors")


def require_same(folder, whole):
    found = load_file(folder / "model.safetensors")
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_killed_tuning_ends_with_the_same_weights(words, whole, tmp_path):
    out = tmp_path / "new"
    stage = out / "training" / "stage-1"
    assert killed_at({**words, "out": out}, stage / "checkpoint-3" / "optimizer.pt")
    assert not (out / "config.json").exists()
    assert last_whole(stage).name in ("checkpoint-2", "checkpoint-3")
    quick_tune(**words, out=out)
    require_same(out, whole)


def test_a_checkpoint_that_was_cut_short_is_not_read(tmp_path):
    for step in (1, 2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (1, 2):
        (tmp_path / f"checkpoint-{step}" / WHOLE).touch()
    assert last_whole(tmp_path) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment_it_ends_with_the_same_weights(seed, words, whole, tmp_path):
    out = tmp_path / "new"
    chance = random.Random(seed)
    for _ in range(3):
        child = started({**words, "out": out})
        child.join(timeout=chance.uniform(0, 12))
        child.kill()
        child.join()
    quick_tune(**words, out=out)
    require_same(out, whole)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["lora:rank=2", "full"])
def test_an_interrupted_stage_goes_on_from_its_checkpoint(parameters, words, tmp_path, monkeypatch):
    """In one process: the optimizer's state, the rate and the windows are those of the step."""
    words = {**words, "parameters": parameters}
    quick_tune(**words, out=tmp_path / "one")
    step = Tuner.training_step

    def interrupted(self, *args, **kwargs):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Tuner, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick_tune(**words, out=tmp_path / "two")
    steps = []
    monkeypatch.setattr(
        Tuner,
        "training_step",
        lambda self, *a, **k: steps.append(self.state.global_step) or step(self, *a, **k),
    )
    quick_tune(**words, out=tmp_path / "two")
    assert steps == [4, 5]
    require_same(tmp_path / "two", load_file(tmp_path / "one" / "model.safetensors"))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    what, words, tmp_path, monkeypatch
):
    out = tmp_path / "new"
    loss_of = Tuner.compute_loss

    def spoilt(self, model, inputs, *args, **rest):
        loss = loss_of(self, model, inputs, *args, **rest)
        if self.state.global_step < 3:
            return loss
        return loss * float("nan") if what == "loss" else _Spoilt.apply(loss)

    monkeypatch.setattr(Tuner, "compute_loss", spoilt)
    with pytest.raises(rw.RopewalkError, match=f"step 4: the (loss|norm of the {what})") as told:
        quick_tune(**words, out=out)
    assert "checkpoint-3" in str(told.value)
    kept = load_file(last_whole(out / "training" / "stage-1") / "trained.safetensors")
    assert all(bool(each.isfinite().all()) for each in kept.values())
    assert not (out / "config.json").exists()


class _Spoilt(torch.autograd.Function):
    """A finite number with a gradient that is not."""

    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


def test_a_budget_decides_the_steps_and_keeps_them(base, book, tmp_path, monkeypatch):
    planned = []

    def steps(self, step_seconds, reserve, share):
        planned.append((step_seconds, reserve, share))
        return 2

    monkeypatch.setattr(Clock, "steps", steps)
    words = {"texts": [book], "windows": 2, "batch": 2, "budget": 1e4}
    document = rw.tune(base, "linear:factor=4", LENGTH, out=tmp_path / "new", **words)
    ((step_seconds, reserve, share),) = planned
    assert 0 < step_seconds < 60
    assert reserve > 0
    assert share == 1
    assert document["stages"][0]["steps"] == 2


def test_a_budget_that_runs_out_ends_the_training_and_saves(base, book, tmp_path, monkeypatch):
    """Steps take longer than they were timed."""
    monkeypatch.setattr(Stages, "_deadline", lambda self, number: time.monotonic() - 1)
    document = quick_tune(base, "linear:factor=4", texts=[book], out=tmp_path / "new", budget=1e4)
    assert document["stages"][0]["steps"] == 1
    assert document["stages"][0]["steps_planned"] == 3
    assert (tmp_path / "new" / "config.json").is_file()


def test_a_budget_for_nothing_is_told(base, book, tmp_path):
    with pytest.raises(rw.RopewalkError, match=r"budget of 0\.01 s.*give more seconds"):
        quick_tune(base, "none", texts=[book], out=tmp_path / "new", budget=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "linear"}, "linear without factor"),
        ({"method": "yarm:factor=4"}, "did you mean yarn"),
        ({"length": 1}, "at least 2"),
        ({"length": TRAINED - 1}, "length 31 is below the trained length 32"),
        ({"length": 100_000}, "the longest text has 20000 tokens"),
        ({"sampler": "posee"}, "did you mean pose"),
        ({"parameters": "lora:targets=q_prj"}, "did you mean q_proj"),
        ({"parameters": "lora:rank=0"}, "rank of at least 1"),
        ({"parameters": "adapter"}, "expected one of full, lora"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"batch": 3, "at_once": 2}, "expected a divisor"),
        ({"steps": [2, 3]}, "one for each stage"),
        ({"steps": -1}, "at least 1"),
        ({"texts": []}, "no text to train on"),
        ({"method": "kerple"}, "trained with a model"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_one_line_before_anything_is_trained(words, message, base, book, tmp_path):
    given = {"method": "linear:factor=4", "texts": [book], "out": tmp_path / "new", **words}
    with pytest.raises(rw.RopewalkError, match=re.escape(message)) as told:
        quick_tune(base, **given)
    assert "\n" not in str(told.value)
    assert not list((tmp_path).glob("new/training/stage-*"))


def test_texts_to_measure_on_that_are_too_short_are_told_before_anything_is_trained(
    base, book, tmp_path
):
    short = text(tmp_path, "short.txt", characters=LENGTH - 1)
    with pytest.raises(rw.RopewalkError, match=f"has {LENGTH - 1} tokens: .* least {LENGTH}"):
        quick_tune(base, "native", texts=[book], heldout=[short], out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("out", ["file.txt/new", "held"])
def test_a_folder_that_cannot_be_written_or_is_at_work_is_refused(out, base, book, tmp_path):
    (tmp_path / "file.txt").touch()
    refused = pytest.raises(rw.RopewalkError, match=r"cannot be written|another process is at work")
    with claimed(tmp_path / "held" / "training"), refused:
        quick_tune(base, "native", texts=[book], out=tmp_path / out)
    assert not (tmp_path / "held" / "training" / "settings.json").exists()


def test_a_model_without_a_tokenizer_is_refused(book, tmp_path):
    bare = checkpoint(tmp_path / "bare", tokenizer=False)
    with pytest.raises(rw.RopewalkError, match="no tokenizer"):
        quick_tune(bare, "linear:factor=4", texts=[book], out=tmp_path / "new")


@pytest.mark.parametrize("note", [b"{", b"[]", b"\xff", b'{"release": 0}'])
def test_settings_that_are_not_ours_are_told_in_one_line(note, tmp_path):
    (tmp_path / "settings.json").write_bytes(note)
    with pytest.raises(rw.RopewalkError, match="holds a tuning with other settings"):
        TuningFolder(tmp_path).claim({})


def test_another_checkpoint_is_not_written_over(base, book, tmp_path):
    taken = shutil.copytree(base, tmp_path / "taken")
    with pytest.raises(rw.RopewalkError, match="holds a checkpoint already"):
        quick_tune(base, "linear:factor=4", texts=[book], out=taken)


def test_without_peft_lora_names_the_extra(base, book, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(rw.RopewalkError, match=re.escape("ropewalk[tune]")):
        quick_tune(base, "none", texts=[book], out=tmp_path / "new", parameters="lora")


def test_the_command_prints_one_document_and_nothing_else(base, book, tmp_path, capsys):
    arguments = ["--method", "linear:factor=4", "--length", "4x", "--out", str(tmp_path / "new")]
    quick = ["--steps", "1", "--batch", "2", "--windows", "2", "--evaluate-every", "0"]
    assert main(["tune", str(base), *arguments, *quick, "--text", str(book), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["length"] == LENGTH
    assert document["won_back"]["tuned"] is not None


def test_nothing_is_written_into_a_folder_that_holds_a_checkpoint(base, book):
    before = sorted(base.rglob("*"))
    with pytest.raises(rw.RopewalkError, match="holds a checkpoint already"):
        quick_tune(base, "linear:factor=4", texts=[book], out=base)
    assert sorted(base.rglob("*")) == before


def test_the_command_says_what_is_wrong_in_one_line(base, tmp_path, capsys):
    arguments = ["--method", "linear:factor=4", "--length", "4x", "--out", str(tmp_path / "new")]
    assert main(["tune", str(base), *arguments, "--text", "nowhere.txt"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: --text nowhere.txt: no such file")
    assert told.err.count("\n") == 1
