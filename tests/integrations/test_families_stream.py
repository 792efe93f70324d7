"""The mutants of the cache and of the batch, and the stream pass."""

import pytest
import torch
from agreement import LENGTH, agree
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import (
    L0,
    in_calls,
    logits,
    tiny,
    token_ids,
)
from ropewalk.core.encoding import KeyStorage
from ropewalk.core.passes import StreamPass
from ropewalk.integrations.session import extend_with
from ropewalk.methods.spec import parse_spec

SAME = {"rtol": 0, "atol": 1e-9}


# The mutants of the cache and of the batch.


@pytest.fixture(scope="module")
def llama():
    return tiny()


def test_a_stale_key_is_caught(llama, monkeypatch):
    """Keys that keep the base of their birth, under a policy that promises the reader's."""
    monkeypatch.setattr(
        "ropewalk.core.encoding.Encoding.key_storage", property(lambda _: KeyStorage.ROTATED)
    )
    with rw.extend(llama, "dynamic_ntk"), pytest.raises(AssertionError, match="not close"):
        agree(llama)


def test_ignored_padding_is_caught(llama, monkeypatch):
    """Positions 0 .. n-1 for a left-padded row, as a plain forward passes them."""

    def unpadded(padding, batch, length, device):
        return torch.arange(length).expand(batch, length)

    monkeypatch.setattr("ropewalk.integrations.call.own_positions", unpadded)
    with rw.extend(llama, "dynamic_ntk"), pytest.raises(AssertionError, match="not close"):
        agree(llama)


# The stream pass: in one call, what decoding computes.


@pytest.mark.parametrize("prompt", [1, 20, L0 + 9])
@pytest.mark.parametrize(
    "spec",
    [
        "dynamic_ntk",
        "dynamic_ntk:step=8",
        "dynamic_ntk:policy=whole_sequence",
        "dynamic_ntk:policy=at_birth",
        "dynamic_yarn:policy=at_birth",
        "yarn:factor=2.5",
    ],
)
def test_stream_is_decoding_in_one_call(llama, spec, prompt):
    ids = token_ids(1, LENGTH)
    parsed = parse_spec(spec)
    with extend_with(llama, parsed):
        decoded = in_calls(llama, ids, [prompt] + [1] * (LENGTH - prompt))
    with extend_with(llama, parsed, split=StreamPass(prompt)):
        assert_close(logits(llama, ids), decoded, **SAME)


def test_a_full_pass_is_no_stream_where_the_path_matters(llama):
    """What makes the test above worth something."""
    ids = token_ids(1, LENGTH)
    with rw.extend(llama, "dynamic_ntk:policy=at_birth"):
        full, decoded = logits(llama, ids), in_calls(llama, ids, [1] * LENGTH)
    assert (full - decoded).abs().max() > 1e-3
