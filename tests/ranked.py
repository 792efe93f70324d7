"""Ranks in a test: processes on this machine, over gloo, and what they are told to do."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SECONDS = 240.0
"""After which ranks are ended: a test may not hang."""


def together(work: Callable[..., None], size: int, folder: Path, *arguments: Any) -> None:
    """Run ``work(ranks, folder, *arguments)`` on ``size`` ranks.

    Raises RuntimeError where a rank fails or does not end in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_rank, args=(rank, size, port, work, folder, *arguments))
        for rank in range(size)
    ]
    for child in children:
        child.start()
    end = time.monotonic() + SECONDS
    try:
        while any(child.is_alive() for child in children):
            failed = any(child.exitcode not in (None, 0) for child in children)
            if failed or time.monotonic() > end:
                break
            time.sleep(0.05)
    finally:
        for child in children:
            if child.is_alive():
                child.kill()
            child.join()
    if any(child.exitcode != 0 for child in children):
        raise RuntimeError(f"ranks ended with {[child.exitcode for child in children]}")


def _rank(
    rank: int, size: int, port: int, work: Callable[..., None], folder: Path, *arguments: Any
) -> None:
    from ropewalk.ranks.launching import joined

    torch.set_num_threads(1)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ.update({**place, "RANK": str(rank), "WORLD_SIZE": str(size)})
    with joined(os.environ) as ranks:
        work(ranks, folder, *arguments)
