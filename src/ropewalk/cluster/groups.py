"""Ranks as one worker: a placement group of the library, with an actor for each rank.

Rank 0 does the tasks and leads; the others follow it for as long as the group lives, so that the
call in which one follows ends only if it is lost, or cannot go on. Then the whole group is ended:
its other ranks may be waiting in the middle of a pass.
"""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from ropewalk.cluster.placing import Room
from ropewalk.cluster.workers import room_here
from ropewalk.evaluation.executor import Begin

LOOPBACK = "127.0.0.1"


class RankGroup:
    """As ``PoolWorker``: ``size`` ranks, near one another where the cluster has room for that."""

    def __init__(
        self, ray: Any, share: dict[str, float], begin: Begin, threads: int, size: int
    ) -> None:
        """share  of a machine that each rank takes: ``num_cpus`` or ``num_gpus``"""
        from ray.util.placement_group import placement_group, remove_placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle = {name.removeprefix("num_").upper().rstrip("S"): n for name, n in share.items()}
        self._placed = placement_group([bundle] * size, strategy="PACK")
        self._remove, self._ray, self._begin = remove_placement_group, ray, begin
        actors = [
            ray.remote(_Rank)
            .options(
                **{"num_cpus": 0, **share},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=self._placed, placement_group_bundle_index=rank
                ),
            )
            .remote(rank, size, threads)
            for rank in range(size)
        ]
        self._leader, *self._others = actors
        self._meeting = self._leader.convene.remote()
        self.lifelines = [each.follow.remote(self._meeting) for each in self._others]

    def ready(self) -> Any:
        return self._leader.lead.remote(self._meeting, self._begin)

    def work(self, task: tuple[Any, ...]) -> Any:
        return self._leader.work.remote(*task)

    def end(self) -> None:
        for actor in (self._leader, *self._others):
            self._ray.kill(actor)
        self._remove(self._placed)


class _Rank:
    """A rank, in a process of its own."""

    def __init__(self, rank: int, size: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._rank, self._size = rank, size
        self._open = ExitStack()
        self._store: Any = None
        self._rooms: tuple[Room, ...] | None = None
        self._work: Callable[..., Any] | None = None

    def convene(self) -> Any:
        """Where the others find this one, as the library's nodes find one another."""
        import ray

        from ropewalk.ranks.launching import convened

        meeting, self._store = convened(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        return meeting

    def lead(self, meeting: Any, begin: Begin) -> tuple[Room, ...]:
        """The rooms of all ranks; again, once they have met."""
        if self._rooms is None:
            self._rooms, ranks = self._met(meeting)
            self._work = begin(ranks)
        return self._rooms

    def work(self, *task: Any) -> Any:
        assert self._work is not None
        return self._work(*task)

    def follow(self, meeting: Any) -> None:
        """What the leader has all ranks do. Raises RankFailed where this one cannot go on."""
        from ropewalk.integrations.ranked.together import follow

        _, ranks = self._met(meeting)
        follow(ranks)

    def _met(self, meeting: Any) -> tuple[tuple[Room, ...], Any]:
        from ropewalk.ranks.launching import met

        if meeting.host == LOOPBACK and sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", socket.if_indextoname(1))
        ranks = self._open.enter_context(met(meeting, self._rank, self._size, self._store))
        return tuple(ranks.each_has(room_here())), ranks
