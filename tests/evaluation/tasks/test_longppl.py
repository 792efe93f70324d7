"""LongPPL: key tokens by the published rule, the same for every method and length."""

import math

import pytest
import torch

from ropewalk import api
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.prefix import Prefix
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.tasks.longppl import is_key, longppl
from ropewalk.evaluation.tasks.loss import Loss

TRAINED = 32
SHORT = 8
IDS = torch.arange(200, dtype=torch.int64)


class Remembering:
    """A token costs 3 + id % 3 nats; with ``needed`` tokens before it, every fourth costs 0.5."""

    def __init__(self, needed, offset=0.0):
        self.needed, self.offset = needed, offset

    def token_losses(self, ids, first, split):
        places = torch.arange(first, len(ids))
        seen = (places >= self.needed) & (ids[first:] % 4 == 0)
        return torch.where(seen, 0.5, 3.0 + ids[first:] % 3).double() + self.offset


def loss(protocol=None):
    document = Document(name="d", ids=IDS, byte_lengths=torch.ones_like(IDS))
    return Loss(protocol=protocol or Tail(tokens=4, windows=4), texts=(document,))


def ends():
    return [200 - window * 25 for window in range(4)]


def keys_by_hand():
    """Targets of each window that cost 0.5 at 32 tokens, and more than 2.5 at 8."""
    return [[n for n in range(end - 4, end) if n % 4 == 0] for end in ends()]


def test_key_tokens_are_those_of_the_rule():
    short = torch.tensor([5.0, 4.0, 3.9, 2.6, 9.0])
    long = torch.tensor([1.9, 2.0, 1.95, 0.5, 6.0])
    assert is_key(short, long).tolist() == [True, False, False, True, False]


def test_methods_are_scored_at_the_tokens_that_the_evaluator_found():
    task = longppl(loss(), Remembering(16), TRAINED, "self")
    assert task.text == f"longppl:evaluator=self,short={SHORT},long={TRAINED}"
    by_hand = keys_by_hand()
    assert [int(task.keys[0, w].mask.sum()) for w in range(4)] == [len(k) for k in by_hand]
    forgetful = Remembering(needed=10**9)
    for model in (Remembering(16), forgetful, Remembering(16, offset=0.25)):
        units = task.units(model, (16, 32), FullPass(), batch=1, advance=lambda cost: None)
        for length in (16, 32):
            nats, count = 0.0, 0
            for end, keys in zip(ends(), by_hand, strict=True):
                ids = IDS[end - length : end]
                losses = dict(
                    zip(
                        range(end - 4, end),
                        model.token_losses(ids, length - 4, None).tolist(),
                        strict=True,
                    )
                )
                nats, count = nats + sum(losses[key] for key in keys), count + len(keys)
            fields = task.fields(units[length])
            assert fields["value"] == pytest.approx(nats / count)
            assert fields["longppl"]["ppl"] == pytest.approx(math.exp(nats / count))
            assert fields["longppl"]["key_tokens"] == count
            assert fields["ci95"] is not None
    assert fields["longppl"]["tokens"] == 16


def test_the_gain_is_what_a_longer_context_saves():
    task = longppl(loss(), Remembering(16), TRAINED, "self")
    units = task.units(Remembering(16), (8, 32), FullPass(), batch=1, advance=lambda cost: None)
    assert task.fields(units[8])["longppl"]["gain"] == 0
    saved = sum(3.0 + key % 3 - 0.5 for keys in keys_by_hand() for key in keys)
    assert task.fields(units[32])["longppl"]["gain"] == pytest.approx(saved / 16)


def test_what_cannot_be_measured_is_told():
    with pytest.raises(RopewalkError, match="0 of the windows hold a key token"):
        longppl(loss(), Remembering(10**9), TRAINED, "self").check(32)
    with pytest.raises(RopewalkError, match="expected protocol tail"):
        longppl(loss(Prefix()), Remembering(16), TRAINED, "self")
    with pytest.raises(RopewalkError, match="ask for at most 3 by --tail-tokens"):
        longppl(loss(), Remembering(4), 8, "self")


def test_compare_measures_it_beside_the_loss(tmp_path, monkeypatch):
    """The demo model gains too little for a key token by the published rule, so by a milder one."""
    none = api.compare(out=tmp_path / "none", tasks=["longppl"], methods=["none"], lengths=[128])
    assert none.records[0]["status"] == "failed"
    assert "0 of the windows hold a key token" in none.records[0]["reason"]
    monkeypatch.setattr("ropewalk.evaluation.tasks.longppl.GAIN_NATS", 0.2)
    monkeypatch.setattr("ropewalk.evaluation.tasks.longppl.LARGEST_NATS", 6.0)
    request = {"methods": ["none", "linear"], "lengths": [128, 256], "tasks": ["longppl", "loss"]}
    run = api.compare(out=tmp_path / "run", windows=8, **request)
    cells = [each for each in run.records if each.get("task") == "longppl"]
    assert [each["status"] for each in cells] == ["ok"] * 4
    assert len([each for each in run.records if "task" not in each]) == 4
    assert len({each["longppl"]["key_tokens"] for each in cells}) == 1
    plain = {each["length"]: each for each in cells if each["method"] == "none"}
    assert plain[256]["value"] < plain[128]["value"] - 0.2  # what makes a token a key token
    assert plain[128]["longppl"]["gain"] == pytest.approx(0, abs=1e-5)
