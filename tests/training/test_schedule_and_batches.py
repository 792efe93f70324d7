"""What a run of training is told by: its schedule, its batches, its tokenizer."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ropewalk.core.errors import RopewalkError
from ropewalk.training.corpus import END_OF_TEXT, Windows, encode_files, train_tokenizer
from ropewalk.training.schedule import WarmupStableDecay

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


CORPUS = torch.arange(1000, dtype=torch.int32)


WINDOWS = Windows(length=8, batch_size=4, seed=3)


# Batches.


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


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "text.txt"
    file.write_text("The rope lay long upon the walk, and the walk was long. " * 30)
    return train_tokenizer([file], 270)


# The tokenizer.


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
