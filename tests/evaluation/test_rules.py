"""Rules of published scripts, against the scripts as they run."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rules_by_hand import BOS, document

from ropewalk.core.passes import FullPass
from ropewalk.evaluation.cells import Failure, Series
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.protocols.chunkllama import ChunkLlamaRule
from ropewalk.evaluation.protocols.first_tokens import NormXURule, YarnTruncatedRule
from ropewalk.evaluation.protocols.press import PressRule, PressSlidingRule
from ropewalk.evaluation.protocols.protocol import OnePassPerLength
from ropewalk.evaluation.protocols.rerope import ReRoPERule
from ropewalk.evaluation.protocols.strided import LongRoPERule, PoSERule, YarnRule
from ropewalk.evaluation.runs import NoStore, RunFolder
from ropewalk.evaluation.setting import Setting
from ropewalk.methods.spec import parse_spec


def losses_of(ids: list[int]) -> list[float]:
    """Loss of each id of a sequence, from all before it; the first has none."""
    found, seen = [math.nan], ids[0]
    for each in ids[1:]:
        found.append(((7 * each + 3 * seen) % 101) / 20)
        seen += each
    return found


class Numbers:
    """A language model of ``losses_of``. Source and session."""

    device = torch.device("cpu")

    def open(self):
        return self

    def use(self, method, length, split):
        return self

    def close(self):
        return None

    def token_losses(self, ids, first, split):
        rows = [losses_of(row)[first:] for row in torch.atleast_2d(ids).tolist()]
        return torch.tensor(rows, dtype=torch.float64).view(*ids.shape[:-1], -1)


def setting(protocol, documents) -> Setting:
    return Setting(
        model="numbers",
        trained_length=8,
        weights="w",
        dtype="float64",
        protocol=protocol,
        documents=tuple(documents),
        code_version="1",
    )


SERIES = Series(
    method=parse_spec("none"),
    split=FullPass(),
    lengths=(8,),
    sharing=OnePassPerLength(),
)


def measured(protocol, documents, length=8, batch=1):
    asked = replace(SERIES, lengths=(length,))
    (result,) = measure(setting(protocol, documents), [asked], Numbers(), NoStore(), batch=batch)
    return result


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def normxu(texts, length, bos):
    """One padded batch: the mean of the documents' perplexities."""
    perplexities = []
    for text in texts:
        ids = bos + text[: length - len(bos)]
        perplexities.append(math.exp(mean(losses_of(ids)[1:])))
    return math.log(mean(perplexities))


def sliding_windows(text, length, stride, bos):
    """(losses of the targets, trg_len) of each window of yarn's, LongRoPE's and PoSE's loop."""
    longest = length - len(bos)
    previous_end = 0
    for begin in range(0, len(text), stride):
        end = min(begin + longest, len(text))
        target_length = end - previous_end
        ids = bos + text[begin:end]
        # Labels of the others are -100; the first of a sequence is shifted out.
        labelled = [-100] * (len(ids) - target_length) + ids[len(ids) - target_length :]
        found = losses_of(ids)
        targets = [found[i] for i in range(1, len(ids)) if labelled[i] != -100]
        if targets:  # a lone first token without a BOS is not a number in the scripts
            yield targets, target_length
        previous_end = end
        if end == len(text):
            break


def yarn(texts, length, stride, bos):
    return mean(mean(t) for text in texts for t, _ in sliding_windows(text, length, stride, bos))


def pose(texts, length, stride, bos):
    total = count = 0.0
    for text in texts:
        for targets, target_length in sliding_windows(text, length, stride, bos):
            total += mean(targets) * target_length
            count += target_length
    return total / count


def chunkllama(texts, length, stride):
    stream = [each for text in texts for each in text]
    starts = list(range(0, len(stream) - length, stride))
    starts.pop()
    return mean(mean(losses_of(stream[start : start + length])[1:]) for start in starts)


def rerope(texts, length, scored, bos):
    total = 0.0
    for text in texts:
        ids = (bos + text)[-(length + 1) :]
        total += mean(losses_of(ids)[-scored:])
    return total / len(texts)


def blocks(texts, length, bos):
    stream = [each for text in texts for each in text]
    found = []
    for start in range(0, len(stream), length):
        source = bos if start == 0 else [stream[start - 1]]
        found += losses_of(source + stream[start : start + length])[1:]
    return mean(found)


def token_by_token(texts, length, bos):
    stream = bos + [each for text in texts for each in text]
    return mean(losses_of(stream[max(0, i - length) : i + 1])[-1] for i in range(1, len(stream)))


SIZES = st.lists(st.integers(2, 60), min_size=1, max_size=4)


LENGTHS = st.integers(2, 40)


OPENINGS = st.sampled_from([(), (BOS,)])


def texts_of(sizes, opening):
    documents = [document(size, opening) for size in sizes]
    return documents, [each.ids.tolist() for each in documents], list(opening)


@given(SIZES, LENGTHS, OPENINGS)
@settings(max_examples=50, deadline=None)
def test_rules_of_the_first_tokens(sizes, length, opening):
    documents, texts, bos = texts_of(sizes, opening)
    found = measured(NormXURule(), documents, length).record()
    assert found["nll"] == pytest.approx(normxu(texts, length, bos))
    assert found["ppl"] == pytest.approx(math.exp(found["nll"]))
    truncated = mean(mean(losses_of(bos + t[: length - len(bos)])[1:]) for t in texts)
    assert measured(YarnTruncatedRule(), documents, length).record()["nll"] == pytest.approx(
        truncated
    )


@given(SIZES, LENGTHS, st.integers(1, 12), st.integers(2, 50), OPENINGS)
@settings(max_examples=100, deadline=None)
def test_rules_of_sliding_windows(sizes, length, stride, longest, opening):
    documents, texts, bos = texts_of(sizes, opening)
    rules = (YarnRule(stride=stride, tokens=longest), PoSERule(stride=stride, tokens=longest))
    if length - len(bos) < max(stride, 2):
        assert all(isinstance(measured(rule, documents, length), Failure) for rule in rules)
        return
    cut = [text[:longest] for text in texts]
    found = [measured(rule, documents, length).record() for rule in rules]
    assert found[0]["nll"] == pytest.approx(yarn(cut, length, stride, bos))
    if bos:  # without one, the script counts a first token that it cannot score
        assert found[1]["nll"] == pytest.approx(pose(cut, length, stride, bos))
    capped = measured(LongRoPERule(stride=stride), documents, length).record()
    ten = [text[: 10 * stride] for text in texts]
    assert capped["nll"] == pytest.approx(yarn(ten, length, stride, bos))


@given(SIZES, LENGTHS, st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_chunkllama_scores_all_tokens_of_overlapping_windows_of_one_stream(sizes, length, stride):
    documents, texts, _ = texts_of(sizes, ())
    found = measured(ChunkLlamaRule(stride=stride, tokens=1000), documents, length)
    if len(range(0, sum(sizes) - length, stride)) < 2:
        assert isinstance(found, Failure)
        return
    record = found.record()
    assert record["nll"] == pytest.approx(chunkllama(texts, length, stride))
    starts = range(0, sum(sizes) - length, stride)
    assert record["tokens_scored"] == (len(starts) - 1) * (length - 1)


@given(SIZES, LENGTHS, st.integers(1, 20), OPENINGS)
@settings(max_examples=50, deadline=None)
def test_rerope_scores_the_last_tokens_of_each_sample(sizes, length, scored, opening):
    documents, texts, bos = texts_of(sizes, opening)
    found = measured(ReRoPERule(tokens=scored), documents, length)
    read = min(min(length, len(bos) + size - 1) for size in sizes)
    assert isinstance(found, Failure) == (read < scored)
    if read >= scored:
        assert found.record()["nll"] == pytest.approx(rerope(texts, length, scored, bos))


@given(st.lists(st.integers(2, 25), min_size=1, max_size=3), LENGTHS, OPENINGS)
@settings(max_examples=40, deadline=None)
def test_both_rules_of_press_score_every_token_of_the_stream(sizes, length, opening):
    documents, texts, bos = texts_of(sizes, opening)
    apart, sliding = (
        measured(rule(tokens=4096), documents, length) for rule in (PressRule, PressSlidingRule)
    )
    if length >= sum(sizes):
        assert isinstance(apart, Failure)
        assert isinstance(sliding, Failure)
        return
    scored = sum(sizes) - (0 if bos else 1)
    assert [each.record()["tokens_scored"] for each in (apart, sliding)] == [scored, scored]
    assert apart.record()["nll"] == pytest.approx(blocks(texts, length, bos))
    assert sliding.record()["nll"] == pytest.approx(token_by_token(texts, length, bos))


@pytest.mark.parametrize(
    "protocol",
    [
        NormXURule(),
        YarnRule(stride=3, tokens=40),
        ChunkLlamaRule(stride=3, tokens=90),
        ReRoPERule(tokens=2),
    ],
    ids=lambda protocol: protocol.name,
)
def test_batches_change_nothing(protocol):
    documents = [document(30), document(45)]
    alone, together = (measured(protocol, documents, 9, batch).record() for batch in (1, 4))
    assert {**alone, "seconds": 0, "peak_memory_bytes": 0} == {
        **together,
        "seconds": 0,
        "peak_memory_bytes": 0,
    }


def test_a_stored_cell_keeps_the_average_of_its_rule(tmp_path):
    documents = [document(9), document(45)]
    kept = setting(NormXURule(), documents)
    first, again = (
        measure(kept, [SERIES], Numbers(), RunFolder.open(tmp_path, kept)) for _ in range(2)
    )
    assert first[0].record() == again[0].record()
    assert first[0].record()["nll"] != measured(YarnTruncatedRule(), documents).record()["nll"]
