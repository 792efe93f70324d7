"""Training: a schedule, batches by step, checkpoints, and runs that stop and go on."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, AdamW
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM

from ropewalk.core.errors import RopewalkError
from ropewalk.training import checkpoint as checkpoint_module
from ropewalk.training.checkpoint import Checkpoint
from ropewalk.training.corpus import END_OF_TEXT, Windows, encode_files, train_tokenizer
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, causal_loss, train

# The schedule.


def test_the_schedule_at_its_borders():
    schedule = WarmupStableDecay(total_steps=100, warmup_steps=10, decay_fraction=0.25)
    assert schedule.decay_start == 75
    expected = {
        0: 1 / 10,
        8: 9 / 10,
        9: 1.0,
        10: 1.0,
        75: 1.0,
        76: 1 - math.sqrt(1 / 25),
        99: 1 - math.sqrt(24 / 25),
        100: 0.0,
        1000: 0.0,
    }
    for step, multiplier in expected.items():
        assert schedule.multiplier(step) == pytest.approx(multiplier, abs=1e-15)


def test_a_longer_run_is_the_same_until_the_shorter_one_decays():
    short = WarmupStableDecay(total_steps=100, warmup_steps=10)
    long = replace(short, total_steps=1000)
    shared = [step for step in range(100) if short.multiplier(step) == long.multiplier(step)]
    assert shared == list(range(76))


@given(
    total=st.integers(1, 500),
    warmup=st.integers(0, 500),
    share=st.floats(0, 1),
    step=st.integers(0, 600),
)
def test_a_multiplier_is_a_share_and_never_rises_after_the_warmup(total, warmup, share, step):
    schedule = WarmupStableDecay(total_steps=total, warmup_steps=warmup, decay_fraction=share)
    now, later = schedule.multiplier(step), schedule.multiplier(step + 1)
    assert 0 <= now <= 1
    assert later >= now if step + 1 < warmup else later <= now or step + 1 == warmup


@pytest.mark.parametrize(
    "values",
    [
        {"total_steps": 0},
        {"total_steps": 10, "decay_fraction": 1.1},
        {"total_steps": 10, "decay_fraction": -0.1},
        {"total_steps": 10, "decay_fraction": math.nan},
        {"total_steps": 10, "warmup_steps": -1},
    ],
)
def test_impossible_schedules_are_refused(values):
    with pytest.raises(RopewalkError, match=next(reversed(values))):
        WarmupStableDecay(**values)


# Batches.


CORPUS = torch.arange(1000, dtype=torch.int32)
WINDOWS = Windows(length=8, batch_size=4, seed=3)


@given(step=st.integers(0, 10**6))
def test_a_batch_is_a_function_of_seed_and_step(step):
    batch = WINDOWS.batch(CORPUS, step)
    torch.manual_seed(step)
    assert torch.equal(Windows(length=8, batch_size=4, seed=3).batch(CORPUS, step), batch)
    assert batch.dtype == torch.int64
    assert torch.equal(batch, batch[:, :1] + torch.arange(9))


def test_seeds_and_steps_draw_different_batches():
    batches = [
        Windows(length=8, batch_size=4, seed=seed).batch(CORPUS, step).tolist()
        for seed in range(3)
        for step in range(20)
    ]
    assert all(one != other for one, other in itertools.combinations(batches, 2))


def test_drawing_a_batch_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    WINDOWS.batch(CORPUS, 5)
    assert torch.equal(torch.rand(3), expected)


def test_every_window_of_the_corpus_can_be_drawn():
    """Twelve tokens hold four windows of nine: the first and the last among them."""
    drawn = torch.cat([WINDOWS.batch(CORPUS[:12], step)[:, 0] for step in range(50)])
    assert sorted(set(drawn.tolist())) == [0, 1, 2, 3]
    assert WINDOWS.batch(CORPUS[:9], 0)[:, 0].tolist() == [0] * 4


def test_a_corpus_shorter_than_a_window_is_refused():
    with pytest.raises(RopewalkError, match="8 tokens"):
        WINDOWS.batch(CORPUS[:8], 0)


# The tokenizer.


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "text.txt"
    file.write_text("The rope lay long upon the walk, and the walk was long. " * 30)
    return train_tokenizer([file], 270)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_its_tokens(tokenizer, text):
    ids = tokenizer.encode(text).ids
    if END_OF_TEXT not in text:
        assert tokenizer.decode(ids) == text


def test_the_tokenizer_has_all_bytes_and_learned_some_words(tokenizer):
    assert tokenizer.get_vocab_size() == 270
    assert tokenizer.token_to_id(END_OF_TEXT) == 0
    assert len(tokenizer.encode("the walk").ids) < len("the walk")
    every_byte = tokenizer.encode("".join(map(chr, range(256)))).ids
    assert None not in every_byte


def test_files_are_encoded_in_order_each_closed(tokenizer, tmp_path):
    texts = ("öfter\n", "", "the rope")
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    ids = encode_files(tokenizer, files)
    expected = [i for text in texts for i in [*tokenizer.encode(text).ids, 0]]
    assert ids.dtype == torch.int32
    assert ids.tolist() == expected


# Checkpoints.


def state(folder, model, optimizer):
    return Checkpoint(folder / "checkpoint.safetensors"), model, [optimizer]


def trained(steps, seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


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


# A run.


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


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    model = llama()
    run(model, tmp_path, 3)
    saved = (tmp_path / "checkpoint.safetensors").read_bytes()
    model = llama()

    def broken(batch):
        return causal_loss(model)(batch) * math.nan

    with pytest.raises(FloatingPointError, match="peak_lr"):
        list(train(model, broken, TEXT, RECIPE, tmp_path))
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == saved
