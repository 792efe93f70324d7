"""Ranks as torchrun starts them: one process each, told of the others by its environment.

Source: torch 2.13, ``torch.distributed.run`` (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from ropewalk.ranks.ranks import Ranks

EXCHANGE_MINUTES = 10
"""Ranks come to an exchange together; one that does not has failed."""
WAIT_DAYS = 7
"""Ranks wait for the leader while it works alone."""


@contextmanager
def joined(environment: Mapping[str, str]) -> Iterator[Ranks]:
    """This process among the others, for the length of a block.

    Tensors go over NCCL where there is a GPU, one for each rank of a machine, else over gloo.
    """
    words = timedelta(days=WAIT_DAYS)
    if torch.cuda.is_available():
        local = int(environment.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    else:
        backend = "gloo"
    dist.init_process_group("gloo", timeout=words)
    try:
        tensors = dist.new_group(backend=backend, timeout=timedelta(minutes=EXCHANGE_MINUTES))
        world = dist.group.WORLD
        assert world is not None
        yield Ranks(rank=dist.get_rank(), size=dist.get_world_size(), tensors=tensors, words=world)
    finally:
        dist.destroy_process_group()
