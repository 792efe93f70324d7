"""Training goes on where it stopped: checkpoints, and runs that are killed."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim import SGD, AdamW
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM

import ropewalk as rw
from ropewalk.training import checkpoint as checkpoint_module
from ropewalk.training.checkpoint import Checkpoint
from ropewalk.training.corpus import Windows
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, causal_loss, train


def trained(steps, seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


# Checkpoints.


def test_a_checkpoint_holds_weights_optimizer_and_step(tmp_path):
    model, optimizer = trained(3)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    checkpoint.save(model, [optimizer], 3)
    again, restored = trained(1, seed=9)
    assert checkpoint.restore(again, [restored]) == 3
    for saved, loaded in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(saved, loaded)
        before, after = optimizer.state[saved], restored.state[loaded]
        assert set(before) == set(after)
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_without_a_checkpoint_nothing_is_restored(tmp_path):
    model, optimizer = trained(0)
    before = model.weight.clone()
    assert Checkpoint(tmp_path / "none.safetensors").restore(model, [optimizer]) == 0
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("moment", ["before", "half way", "before the renaming"])
def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch, moment):
    model, optimizer = trained(3)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    checkpoint.save(model, [optimizer], 3)
    content = checkpoint.path.read_bytes()

    def half_written(tensors, path):
        path.write_bytes(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    def killed(*args):
        raise KeyboardInterrupt

    failures = {
        "before": (checkpoint_module, "save_file", killed),
        "half way": (checkpoint_module, "save_file", half_written),
        "before the renaming": (checkpoint_module.os, "replace", killed),
    }
    with monkeypatch.context() as patched:
        patched.setattr(*failures[moment])
        with pytest.raises((OSError, KeyboardInterrupt)):
            checkpoint.save(*trained(4)[:1], [optimizer], 4)
    assert checkpoint.path.read_bytes() == content
    assert checkpoint.restore(model, [optimizer]) == 3
    checkpoint.save(model, [optimizer], 5)
    assert checkpoint.restore(model, [optimizer]) == 5


def test_optimizers_without_state_are_saved_too(tmp_path):
    model, _ = trained(0)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    checkpoint.save(model, [SGD(model.parameters(), lr=0.1)], 7)
    assert checkpoint.restore(model, [SGD(model.parameters(), lr=0.1)]) == 7


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
            tie_word_embeddings=True,
        )
    )  # fmt: skip


TEXT = torch.randint(64, (500,), generator=torch.Generator().manual_seed(1), dtype=torch.int32)


RECIPE = Recipe(
    windows=Windows(length=16, batch_size=2),
    schedule=WarmupStableDecay(total_steps=6, warmup_steps=2),
    checkpoint_every_steps=2,
)


def run(model, folder, steps=None, recipe=RECIPE):
    """Train; leave the loop after ``steps`` of them. Returns the records seen."""
    return list(itertools.islice(train(model, causal_loss(model), TEXT, recipe, folder), steps))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    model, folder = llama(), tmp_path_factory.mktemp("runs") / "whole"
    return model, run(model, folder), folder


def weights_equal(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def timeless(records):
    return [replace(record, seconds=0.0) for record in records]


# A run.


def test_a_run_learns_and_says_so(undisturbed):
    model, records, folder = undisturbed
    assert not weights_equal(model, llama())
    assert [record.step for record in records] == list(range(6))
    assert [record.tokens for record in records] == [32 * (step + 1) for step in range(6)]
    decay = 1 - math.sqrt(1 / 2)
    assert [record.lr / 3e-3 for record in records] == pytest.approx([0.5, 1, 1, 1, 1, decay])
    assert records[0].loss == pytest.approx(math.log(64), abs=0.2)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [record.loss for record in records]
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["schedule"]["total_steps"] == 6
    assert recipe["windows"] == {"length": 16, "batch_size": 2, "seed": 0}


@pytest.mark.parametrize("stops", [(1,), (2,), (3,), (1, 2, 3), (6,), (5, 1)])
def test_a_run_that_stops_and_goes_on_ends_with_the_same_weights(undisturbed, stops, tmp_path):
    """Stopped on and between checkpoints; each time in a new model, as in a new process."""
    whole, records, _ = undisturbed
    for steps in stops:
        run(llama(), tmp_path, steps)
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 5, "lo')  # a line that a kill cut short
    model = llama()
    rest = run(model, tmp_path)
    assert weights_equal(model, whole)
    assert timeless(rest) == timeless(records[6 - len(rest) :])
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(6))
    assert [line["loss"] for line in log] == [record.loss for record in records]


def test_a_longer_run_goes_on_from_a_checkpoint_of_a_shorter_one(tmp_path):
    """For as long as the shorter one's decay has not begun."""
    longer = replace(RECIPE, schedule=replace(RECIPE.schedule, total_steps=8))
    whole = llama()
    run(whole, tmp_path / "whole", recipe=longer)
    run(llama(), tmp_path / "parts", 4)
    model = llama()
    run(model, tmp_path / "parts", recipe=longer)
    assert weights_equal(model, whole)


def test_the_rate_of_the_schedule_is_the_rate_of_the_optimizers(tmp_path):
    """The first update of AdamW is the rate itself, in the direction of the gradient's sign."""
    before, model = llama(), llama()
    run(model, tmp_path, 1, replace(RECIPE, peak_lr=0.1, weight_decay=0.0))
    for name in ("model.norm.weight", "model.embed_tokens.weight"):
        update = model.get_parameter(name) - before.get_parameter(name)
        assert update.abs().max().item() == pytest.approx(0.1 / 2, rel=1e-3)
    # Muon's update is orthogonal, times 0.2 * sqrt(larger side): entries of that size, squared.
    name = "model.layers.0.mlp.up_proj.weight"
    update = model.get_parameter(name) - before.get_parameter(name)
    size = update.square().mean().sqrt().item()
    assert size == pytest.approx(0.1 / 2 * 0.2, rel=0.3)


def test_the_loss_is_the_mean_of_the_next_token(undisturbed):
    """Logits are rounded to bfloat16 on the way: 8 bits of numbers of about one."""
    model = undisturbed[0]
    ids = TEXT[:34].view(2, 17).long()
    log_probabilities = model(ids[:, :-1]).logits.log_softmax(-1)
    expected = -log_probabilities.gather(-1, ids[:, 1:, None]).mean()
    assert_close(causal_loss(model)(ids), expected, rtol=0, atol=2e-2)


class Spoilt(torch.autograd.Function):
    """A finite number with a gradient that is not."""

    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.inf


@pytest.mark.parametrize("step", [3, 4])
@pytest.mark.parametrize("spoil", [lambda loss: loss * math.nan, Spoilt.apply])
def test_what_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, step, spoil):
    """Step 4 ends with a checkpoint; what step 2 left is the last good one, and goes on."""
    model, calls = llama(), []

    def broken(batch):
        calls.append(batch)
        loss = causal_loss(model)(batch)
        return spoil(loss) if len(calls) == step else loss

    with pytest.raises(
        rw.RopewalkError, match=f"step {step}: the loss is .* of step 2; .* rate .0.003"
    ):
        list(train(model, broken, TEXT, RECIPE, tmp_path))
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert int(kept["step"]) == 2
    assert all(bool(each.isfinite().all()) for each in kept.values())
    assert all(bool(each.isfinite().all()) for each in model.state_dict().values())
    whole = llama()
    run(whole, tmp_path / "whole")
    again = llama()
    assert [record.step for record in run(again, tmp_path)] == [2, 3, 4, 5]
    assert weights_equal(again, whole)
