"""The two scorings, on models whose answers are known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.tasks.tokenizers_made import BOOK, byte_tokenizer, demo
from ropewalk.core.answering import ForcedAnswer
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.bootstrap import paired_difference
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.judging import judged
from ropewalk.evaluation.tasks.retrieval import Retrieval
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.table import Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.evaluation.tasks.wilson import wilson
from ropewalk.evaluation.tasks.words import letters, names

LENGTH = 512


@pytest.fixture(scope="module")
def materials():
    return Materials(tokens=Tokens.of(demo()), texts=[BOOK[:200_000]])


def retrieval(name, materials, **changes):
    return Retrieval(generator=generator(name, materials), tokens=materials.tokens, **changes)


class Knowing:
    """Answers rightly where the answer begins in the last ``reach`` tokens, else with a distractor.

    A token that it would say costs 0.1 nats, any other 5.
    """

    def __init__(self, task, length, reach=10**9):
        self.known = {
            sample.ids: sample for sample in (task.sample(length, t) for t in range(task.trials))
        }
        self.reach, self.asked = reach, 0

    def read(self, prompts, split):
        self.asked += 1
        rows = [self.known[tuple(row)] for row in prompts.tolist()]
        far = [len(each.ids) * (1 - each.depth) > self.reach for each in rows]
        said = [each.candidates[1 if away else 0] for each, away in zip(rows, far, strict=True)]
        return _Said(said)


class _Said:
    def __init__(self, said):
        self.said = said

    def forced(self, continuations):
        same = torch.tensor(
            [
                [at < len(said) and said[at] == token for at, token in enumerate(row)]
                for said, row in zip(self.said, continuations.tolist(), strict=True)
            ]
        )
        return ForcedAnswer(torch.where(same, 0.1, 5.0).double(), same)

    def greedy(self, count, stops):
        return torch.tensor([[*said, *[0] * count][:count] for said in self.said])


def measured(task, model, batch=1):
    costs = []
    units = task.units(model, (LENGTH,), FullPass(), batch=batch, advance=costs.append)[LENGTH]
    assert sum(costs) == pytest.approx(task.cost((LENGTH,), FullPass()))
    return units


@pytest.mark.parametrize("name", ["needle", "induction", "key_value"])
def test_a_model_that_knows_ranks_first_everywhere(name, materials):
    task = retrieval(name, materials, trials=10)
    fields = task.fields(measured(task, Knowing(task, LENGTH)))
    assert (fields["task"], fields["metric"], fields["trials"]) == (name, "rank_1", 10)
    assert fields["value"] == 1.0
    assert fields["ci95"] == [pytest.approx(10 / (10 + 1.959964**2)), 1.0]
    assert fields["forced"]["loss"] == pytest.approx(0.1)
    assert fields["forced"]["greedy"] == 1.0
    assert fields["generation"]["exact"] == fields["generation"]["right"] == 10
    assert fields["generation"]["wrong"] == fields["generation"]["empty"] == 0
    assert [depth["rank_1"] for depth in fields["depths"]] == [1.0] * 5
    assert [depth["from"] for depth in fields["depths"]] == [0.0, 0.2, 0.4, 0.6, 0.8]


def test_a_model_that_forgets_is_seen_at_the_depths_that_it_forgot(materials):
    task = retrieval("needle", materials, trials=10)
    fields = task.fields(measured(task, Knowing(task, LENGTH, reach=LENGTH // 2)))
    ranks = [depth["rank_1"] for depth in fields["depths"]]
    assert ranks[0] == ranks[1] == 0.0
    assert ranks[3] == ranks[4] == 1.0
    assert fields["generation"]["wrong"] == 10 - fields["generation"]["right"] > 0
    assert fields["generation"]["empty"] == 0
    assert 0 < fields["value"] < 1


def test_batches_change_nothing(materials):
    task = retrieval("needle", materials, trials=10)
    alone, four = Knowing(task, LENGTH), Knowing(task, LENGTH)
    assert measured(task, alone) == measured(task, four, batch=4)
    assert (alone.asked, four.asked) == (10, 3)


def test_differences_are_paired(materials):
    task = retrieval("needle", materials, trials=10)
    good = measured(task, Knowing(task, LENGTH))
    poor = measured(task, Knowing(task, LENGTH, reach=LENGTH // 2))
    difference = paired_difference(poor, good, task.metric)
    assert difference.value == pytest.approx(-0.5, abs=0.21)
    assert difference.interval is not None
    assert paired_difference(good, good, task.metric).value == 0


def test_a_task_without_distractors_is_compared_by_its_loss(materials):
    task = retrieval("passkey", materials, trials=4)
    fields = task.fields(measured(task, Knowing(task, LENGTH)))
    assert (fields["metric"], fields["value"]) == ("loss", pytest.approx(0.1))
    assert fields["ci95"] == [pytest.approx(0.1), pytest.approx(0.1)]
    assert fields["forced"]["rank"] is None
    assert fields["generation"]["first_integer"] == 4


def test_what_cannot_be_measured_is_told(materials):
    with pytest.raises(RopewalkError, match="trials=1: expected at least 2"):
        retrieval("needle", materials, trials=1)
    task = retrieval("needle", materials)
    with pytest.raises(RopewalkError, match="expected a model that can be read from"):
        measured(task, object())
    with pytest.raises(RopewalkError, match="needle at length 20"):
        task.check(20)


@pytest.mark.parametrize("free", [2**33, None])
def test_a_prompt_that_no_memory_holds_is_told(materials, free, monkeypatch):
    monkeypatch.setattr("ropewalk.evaluation.tasks.retrieval.free_bytes", lambda: free)
    task = Retrieval(generator=generator("induction", materials), tokens=materials.tokens)
    with pytest.raises(RopewalkError, match="does not fit into memory"):
        task.check(2**50)  # 8 PiB of ids, which no machine allocates
    task.check(256)


def test_a_prompt_is_not_begun_where_the_system_would_kill_the_process(materials, monkeypatch):
    """10^10 tokens: numpy is promised 80 GB, and the process is killed while it fills them."""
    monkeypatch.setattr("ropewalk.evaluation.tasks.retrieval.free_bytes", lambda: 2**34)
    monkeypatch.setattr(Retrieval, "sample", None)
    task = Retrieval(generator=generator("induction", materials), tokens=materials.tokens)
    with pytest.raises(RopewalkError, match="about 6,519 GiB, 16 are free"):
        task.check(10**10)


@pytest.mark.parametrize("make", [names, lambda rng, count: letters(rng, count, 2, "ab")])
def test_more_different_words_than_there_are_is_told(make):
    with pytest.raises(RopewalkError, match="ask for a shorter one"):
        make(np.random.default_rng(0), 10**6)
    assert len(set(make(np.random.default_rng(0), 4))) == 4


def test_depths_are_stratified_and_the_same_at_every_length(materials):
    task = retrieval("induction", materials, trials=20)
    for length in (512, 1024):
        depths = [task.sample(length, trial).depth for trial in range(20)]
        assert all(abs(d - (t + 0.5) / 20) < 0.06 for t, d in enumerate(depths))


def test_rows_are_lines_of_json(materials):
    rows = [json.loads(line) for line in retrieval("needle", materials, trials=3).rows(LENGTH)]
    assert [row["task"] for row in rows] == ["needle"] * 3


def answered(text, *answer, candidate=(7,)):
    sample = Sample(
        task="t",
        context="",
        question="",
        answer_prefix="",
        answer=answer,
        max_new_tokens=8,
        depth=0.0,
        ids=(1,),
        candidates=(candidate,),
    )
    return judged(text, (), sample)


@pytest.mark.parametrize(
    ("text", "answer", "right", "exact", "empty"),
    [
        (" 1234567.", "1234567", True, True, False),
        (" the number 1234567", "1234567", True, False, False),
        (" 12345678", "1234567", False, False, False),
        (" 7654321, then 1234567", "1234567", False, False, False),
        (" the number", "1234567", False, False, True),
        ("", "1234567", False, False, True),
        (" Anton.", "Anton", True, True, False),
        (" Antonia", "Anton", False, False, False),
        (" ...", "Anton", False, False, True),
    ],
)
def test_generated_answers_are_right_wrong_or_empty(text, answer, right, exact, empty):
    verdict = answered(text, answer)
    assert (verdict.right, verdict.exact, verdict.empty) == (right, exact, empty)
    assert verdict.wrong == (not right and not empty)


def test_of_several_answers_all_must_stand_in_the_text():
    assert answered(" b, A and c", "a", "b", "c").right
    partly = answered(" a, bb", "a", "b")
    assert (partly.recall, partly.right, partly.wrong) == (0.5, False, True)


def test_a_right_answer_is_not_empty():
    verdict = answered(" \u2192", "\u2192")
    assert (verdict.right, verdict.empty, verdict.wrong) == (True, False, False)


@pytest.mark.parametrize("name", ["induction", "key_value"])
def test_random_tokens_are_judged_by_ids_not_by_a_text_that_many_have(name):
    """A byte that is no character of its own reads as the same sign as any other."""
    tokens = Tokens.of(byte_tokenizer())
    made = generator(name, Materials(tokens=tokens, texts=()))
    right = tuple(range(0xB0, 0xB4))[: made.room]
    sample = made.sample(Place(length=512, depth=0.5, seed=1, trial=0), tokens)
    sample = replace(sample, answer=(tokens.text(right),), candidates=(right,))
    other = [each + 4 for each in right]
    assert tokens.text(other) == sample.answer[0]
    assert made.verdict(tokens.text(right), right, sample) == (True, None, 1.0, False)
    assert made.verdict(tokens.text(other), other, sample) == (False, None, 0.0, False)
    assert made.verdict("", (), sample) == (False, None, 0.0, True)


def test_wilson_s_interval_is_where_the_normal_test_turns():
    """Its ends are the shares p for which the count lies just z standard errors away."""
    for count, trials in ((3, 10), (1, 20), (19, 20)):
        for p in wilson(count, trials):
            distance = abs(count / trials - p) / math.sqrt(p * (1 - p) / trials)
            assert distance == pytest.approx(1.959963984540054)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0
