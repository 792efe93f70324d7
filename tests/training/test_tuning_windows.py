"""What a training window holds: papers' rules, documents that keep to themselves, true masks."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import ropewalk as rw
from recipes.families.sharpened import tiny
from ropewalk.training.tuning.positions import CREAM, FullLength, Lengths, PoSE
from ropewalk.training.tuning.request import read_sampler
from ropewalk.training.tuning.seams import prove_seams
from ropewalk.training.tuning.windows import IGNORED, TextWindows

LENGTHS = Lengths(trained=256, target=1024)
LONG = torch.arange(3000)
DRAWS = 2000


def windows(sampler, documents=(LONG,), lengths=LENGTHS, seed=0, count=DRAWS):
    return TextWindows(
        documents=documents, sampler=sampler, lengths=lengths, seed=seed, count=count
    )


def runs(values):
    """(first, last) of each run of numbers that rise by one."""
    breaks = (np.diff(values) != 1).nonzero()[0] + 1
    return [(int(each[0]), int(each[-1])) for each in np.split(values, breaks)]


def test_pose_has_two_runs_and_skips_up_to_the_target():
    """arXiv:2309.10400, section 3: the first chunk at 0, the second at a uniform skip."""
    skips, firsts = [], []
    for window in windows(PoSE()):
        positions = window["position_ids"].numpy()
        assert len(positions) == 256
        found = runs(positions)
        assert found[0][0] == 0
        assert found[-1][1] <= 1023
        assert len(found) <= 2
        skips.append(positions[-1] - 255)
        if len(found) == 2:
            firsts.append(found[0][1] + 1)
    assert 1 <= min(firsts) <= 3
    assert 126 <= max(firsts) <= 128
    # Uniform over 0 .. 768: mean 384, standard error of 2,000 draws 5.
    assert abs(np.mean(skips) - 384) < 25
    assert (min(skips), max(skips)) >= (0, 760)


def test_pose_takes_the_second_chunk_from_further_on_in_the_text():
    gaps = []
    for window in windows(PoSE()):
        ids = window["input_ids"].numpy()
        assert (np.diff(ids) > 0).all()
        gaps.append(ids[-1] - ids[0] - 255)
    assert max(gaps) > 900  # at most 5 x 256 tokens of text: 1,024 between
    assert max(gaps) <= 1024


def test_cream_covers_head_middle_and_tail():
    """arXiv:2406.07138: h = L0 / 3 or 4 s; the middle ends in [h + (m-1) f/2, L0 f/2 - h - 1]."""
    sides, centres = [], []
    for window in windows(CREAM()):
        positions = window["position_ids"].numpy()
        assert len(positions) == 256
        assert (np.diff(positions) > 0).all()
        assert positions[0] == 0
        assert positions[-1] == 1023
        side = 85 if positions[16] == 16 and positions[84] == 84 and positions[-85] == 939 else 16
        sides.append(side)
        middle = positions[side:-side]
        assert runs(middle) == [(middle[0], middle[-1])]
        centres.append(middle.mean())
    assert 0.4 < np.mean(np.array(sides) == 85) < 0.6
    # Centred at (1 + s) L0 / 2 = 640 of f, less the half of the middle and the tail.
    assert 400 < np.mean(centres) < 620
    assert np.std(centres) < 1024 / 12**0.5  # narrower than a uniform one


@pytest.mark.parametrize("sampler", [FullLength(), PoSE(), CREAM()])
def test_a_window_depends_on_its_number_and_the_seed_alone(sampler):
    one, again, other = windows(sampler), windows(sampler), windows(sampler, seed=1)
    for name in ("input_ids", "position_ids", "labels"):
        assert torch.equal(one[7][name], again[7][name])
    same = [torch.equal(one[n]["input_ids"], other[n]["input_ids"]) for n in range(20)]
    assert not all(same)
    assert not torch.equal(one[7]["input_ids"], one[8]["input_ids"])


def test_documents_in_one_window_begin_at_position_0_and_their_first_is_not_scored():
    documents = [torch.arange(100), torch.arange(1000, 1040), torch.arange(2000, 2100)]
    lengths = Lengths(trained=32, target=64)
    seen = set()
    for window in windows(FullLength(), documents, lengths, count=300):
        ids, positions, labels = (window[k] for k in ("input_ids", "position_ids", "labels"))
        assert len(ids) == 64
        begins = [0, *(ids.diff() != 1).nonzero().flatten().add(1).tolist()]
        for first, last in zip(begins, [*begins[1:], 64], strict=True):
            assert positions[first:last].tolist() == list(range(last - first))
            assert labels[first] == IGNORED
            assert labels[first + 1 : last].tolist() == ids[first + 1 : last].tolist()
        seen.add(len(begins))
    assert {1, 2, 3} <= seen


@pytest.mark.parametrize("method", [None, "rerope:window=12", "yarn:factor=4"])
def test_the_loss_of_a_packed_window_is_that_of_its_documents_alone(method):
    documents = [torch.arange(3, 43), torch.arange(10, 90)]
    window = windows(FullLength(), documents, Lengths(trained=32, target=80), count=20)
    batch = next(
        window.batch([each]) for each in window if (each["position_ids"].diff() != 1).any()
    )
    model = tiny(num_hidden_layers=2)
    if method is not None:
        rw.extend(model, method)
    with torch.no_grad():
        packed = model(**batch, use_cache=False).loss
        ids = batch["input_ids"][0]
        seam = int((batch["position_ids"][0].diff() != 1).nonzero()[0]) + 1
        alone = [
            functional.cross_entropy(
                model(part[None], use_cache=False).logits[0, :-1], part[1:], reduction="sum"
            )
            for part in (ids[:seam], ids[seam:])
        ]
    expected = (sum(alone) / (len(ids) - 2)).float()  # the library's loss is in float32
    torch.testing.assert_close(packed, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", [None, "rerope:window=12", "linear:factor=4"])
@pytest.mark.parametrize("sampler", [FullLength(), PoSE()])
def test_who_sees_whom_is_right_and_proven(sampler, method):
    documents = [torch.arange(3, 73), torch.arange(10, 90)]
    model = tiny(num_hidden_layers=2)
    if method is not None:
        rw.extend(model, method)
    prove_seams(model, windows(sampler, documents, Lengths(trained=16, target=64), count=20))


@pytest.mark.parametrize(
    ("sampler", "mask", "message"),
    [
        (PoSE(), None, "does not see what it follows"),
        (FullLength(), torch.ones(1, 64, dtype=torch.long), "sees the document before its own"),
    ],
    ids=["skips without a mask", "packed with a mask"],
)
def test_a_wrong_mask_does_not_train(sampler, mask, message, monkeypatch):
    """Both are one slip away: the library reads documents off the positions, unless masked."""

    def batch(self, picked):
        stacked = {key: torch.stack([each[key] for each in picked]) for key in picked[0]}
        return stacked if mask is None else {**stacked, "attention_mask": mask}

    monkeypatch.setattr(TextWindows, "batch", batch)
    documents = [torch.arange(3, 73), torch.arange(10, 90)]
    wrong = windows(sampler, documents, Lengths(trained=16, target=64), count=20)
    with pytest.raises(rw.RopewalkError, match=message):
        prove_seams(tiny(num_hidden_layers=2), wrong)


@pytest.mark.parametrize(
    ("sampler", "tokens", "message"),
    [("full", 1023, "at least 1024"), ("pose", 255, "at least 256"), ("cream", 255, "at least")],
)
def test_texts_that_are_too_short_are_refused(sampler, tokens, message):
    with pytest.raises(rw.RopewalkError, match=message):
        windows(read_sampler(sampler), (torch.arange(tokens),))


def test_cream_refuses_lengths_without_a_middle():
    with pytest.raises(rw.RopewalkError, match="use pose"):
        windows(CREAM(), (torch.arange(3000),), Lengths(trained=32, target=128))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("posee", "did you mean pose"),
        ("pose:chunks=3", "unknown key 'chunks'"),
        ("cream:sigma=wide", "expected a number"),
        ("cream:sigma=0", "finite number above 0"),
        ("cream:sigma=nan", "finite number above 0"),
        ("", "expected one of full, pose, cream"),
    ],
)
def test_a_word_that_is_no_sampler_is_told(text, message):
    with pytest.raises(rw.RopewalkError, match=message):
        read_sampler(text)


def test_cream_takes_its_width_from_the_word():
    assert read_sampler("cream:sigma=2") == CREAM(sigma=2.0)
