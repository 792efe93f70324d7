"""Losses in chunks are the losses; calls in pieces are the sequence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from ropewalk.core.errors import RopewalkError
from ropewalk.core.loss import CHUNK_ROWS, token_losses
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass

WIDTH, VOCABULARY = 6, 11
SIZES = (0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS, 2 * CHUNK_ROWS + 1)


def sample(rows, dtype=torch.float64):
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    return hidden, torch.randint(VOCABULARY, (rows,), generator=generator), weight


@pytest.mark.parametrize("rows", SIZES)
def test_chunks_give_the_losses_of_the_whole(rows):
    hidden, targets, weight = sample(rows)
    fed = []

    def head(chunk):
        fed.append(len(chunk))
        return chunk @ weight.T

    losses = token_losses(hidden, targets, head)
    log_probabilities = torch.log(functional.softmax(hidden @ weight.T, dim=-1))
    assert losses.dtype == torch.float64
    assert losses.shape == (rows,)
    assert_close(losses, -log_probabilities[torch.arange(rows), targets], rtol=0, atol=1e-12)
    assert sum(fed) == rows
    assert max(fed, default=0) <= CHUNK_ROWS


def test_bf16_logits_are_summed_in_float32():
    """exp and sum in bf16 would lose 1e-2 nats; the logits' own rounding is not ours."""
    hidden, targets, weight = sample(64, torch.bfloat16)
    losses = token_losses(hidden, targets, lambda chunk: chunk @ weight.T)
    exact = functional.cross_entropy((hidden @ weight.T).double(), targets, reduction="none")
    assert losses.dtype == torch.float64
    assert_close(losses, exact, rtol=0, atol=2e-6)


@pytest.mark.parametrize("rows", [CHUNK_ROWS - 1, CHUNK_ROWS])
def test_every_target_needs_a_row(rows):
    hidden, targets, weight = sample(CHUNK_ROWS + 1)
    with pytest.raises(ValueError):
        token_losses(hidden[:rows], targets, lambda chunk: chunk @ weight.T)


@pytest.mark.parametrize("split", [FullPass(), DecodePass(), *map(ChunkedPass, (1, 2, 7, 100))])
@given(length=st.integers(1, 60))
def test_calls_cover_the_sequence_once_and_in_order(split, length):
    calls = list(split.calls(length))
    assert [i for start, stop in calls for i in range(start, stop)] == list(range(length))
    assert all(stop > start for start, stop in calls)


def test_calls_have_the_size_they_promise():
    assert list(FullPass().calls(5)) == [(0, 5)]
    assert list(ChunkedPass(2).calls(5)) == [(0, 2), (2, 4), (4, 5)]
    assert list(DecodePass().calls(3)) == [(0, 1), (1, 2), (2, 3)]
    assert [split.name for split in (FullPass(), ChunkedPass(2), DecodePass())] == [
        "full",
        "chunked:2",
        "decode",
    ]


@pytest.mark.parametrize("size", [0, -3])
def test_chunks_of_nothing_are_refused(size):
    with pytest.raises(RopewalkError, match=f"chunked:{size}"):
        ChunkedPass(size)
