"""The bench of encodings runs what it names: x-transformers' layers and ours compute the same."""

import pytest
import torch
from torch.testing import assert_close

from benchmarks import encodings
from benchmarks.encodings import GEOMETRY, PEER, _inputs, _ours, _theirs, bench_encodings
from ropewalk.methods.build import encoding

pytest.importorskip("x_transformers")


@pytest.mark.parametrize(("name", "spec"), [("rope", "none"), ("alibi", "alibi"), ("xpos", "xpos")])
@torch.no_grad()
def test_peers_compute_what_we_compute(name, spec):
    """Rotations of x-transformers turn neighbouring channels."""
    q, k, v = _inputs(1, 96, wants_gradient=False)
    ours = _ours(encoding(spec, GEOMETRY).paired("interleaved"), 96)
    assert_close(_theirs()[f"{PEER} {name}"](96)(q, k, v), ours(q, k, v), rtol=0, atol=2e-5)


def test_training_and_inference_are_in_the_document(monkeypatch):
    monkeypatch.setattr(encodings, "TRAINING_LENGTH", 32)
    monkeypatch.setattr(encodings, "INFERENCE_LENGTH", 64)
    document = bench_encodings(specs=["kerple", "fox"], rounds=1)
    for setting in ("training", "inference"):
        ratios = document["ratios"][setting]
        assert {"none", "kerple", "fox", f"{PEER} t5"} <= set(ratios)
        assert ratios["none"]["median"] == 1
    assert set(document["memory"]) == set(document["ratios"]["inference"])
