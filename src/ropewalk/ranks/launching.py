"""How processes become ranks: told of the others by torchrun, or by where the first one waits.

Source: torch 2.13, ``torch.distributed.run`` (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR) and
``torch.distributed.elastic.multiprocessing.errors`` (TORCHELASTIC_ERROR_FILE).
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import ref

import torch
import torch.distributed as dist

from ropewalk.ranks.ranks import LEADER, Ranks

EXCHANGE_MINUTES = 10
"""Ranks come to an exchange together; one that does not has failed."""
WAIT_DAYS = 7
"""Ranks wait for the leader while it works alone."""
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where ranks find one another: the leader's address, and a port on which it listens."""

    host: str
    port: int


@contextmanager
def joined(environment: Mapping[str, str]) -> Iterator[Ranks]:
    """This process among the others that torchrun started, for the length of a block.

    Tensors go over NCCL where there is a GPU, one for each rank of a machine, else over gloo.
    """
    with _grouped(int(environment.get("LOCAL_RANK", "0"))) as ranks:
        yield ranks


def convened(host: str) -> tuple[Meeting, Any]:
    """The leader's part: a port is taken, and kept as long as the store lives."""
    store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    return Meeting(host=host, port=store.port), store


@contextmanager
def met(meeting: Meeting, rank: int, size: int, store: Any = None) -> Iterator[Ranks]:
    """This process among the ``size`` that come to a meeting, each with a GPU of its own if any.

    store  that the leader convened; None for the others
    """
    if rank != LEADER:
        store = dist.TCPStore(meeting.host, meeting.port)  # type: ignore[attr-defined]
    with _grouped(0, store=store, rank=rank, world_size=size) as ranks:
        yield ranks


@contextmanager
def _grouped(device: int, **place: Any) -> Iterator[Ranks]:
    words = timedelta(days=WAIT_DAYS)
    if torch.cuda.is_available():
        torch.cuda.set_device(device % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    else:
        backend = "gloo"
    dist.init_process_group("gloo", timeout=words, **place)
    try:
        yield _ranks(dist.new_group(backend=backend, timeout=timedelta(minutes=EXCHANGE_MINUTES)))
    finally:
        dist.destroy_process_group()


def _ranks(tensors: Any) -> Ranks:
    """Over the group of all processes, and another one of the same for tensors."""
    world = dist.group.WORLD
    assert world is not None
    return Ranks(
        rank=dist.get_rank(), size=dist.get_world_size(), tensors=ref(tensors), words=ref(world)
    )


def tell_torchrun(environment: Mapping[str, str], reason: str) -> None:
    """Leave the reason where torchrun looks for it: it ends the other ranks and prints it last."""
    file = environment.get(ERROR_FILE)
    if file is not None:
        said = {"message": reason, "extraInfo": {"timestamp": str(int(time.time()))}}
        Path(file).write_text(json.dumps({"message": said}), "utf-8")
