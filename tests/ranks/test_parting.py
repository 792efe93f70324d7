"""What is left of ranks after they part: nothing that runs on."""

import os
from pathlib import Path

import pytest
import torch

from ropewalk.ranks.failing import PeerLost
from ropewalk.ranks.launching import convened, met

THREADS = Path("/proc/self/task")
pytestmark = pytest.mark.skipif(not THREADS.is_dir(), reason="threads are counted in /proc")


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


def threads():
    return set(os.listdir(THREADS))


def parted():
    """Ranks after their block, kept by the caller, and the threads that ran in it alone."""
    meeting, store = convened("127.0.0.1")
    before = threads()
    with met(meeting, 0, 1, store) as ranks:
        assert ranks.summed(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
        assert ranks.each_has("a word") == ["a word"]
        within = threads() - before
    return ranks, within


def test_threads_of_the_groups_end_with_the_block():
    """Those of gloo free tensors, which aborts a process whose interpreter is being taken down."""
    ranks, within = parted()
    assert within
    assert not within & threads(), "a group outlives its block"
    assert ranks.size == 1


@pytest.mark.parametrize("exchange", ["summed", "each_has"])
def test_ranks_that_have_parted_meet_no_more(exchange):
    ranks, _ = parted()
    with pytest.raises(PeerLost, match="have parted"):
        getattr(ranks, exchange)(torch.ones(3))
