"""A worker of a Ray cluster, as the pool has it: one process, or ranks that read together."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ropewalk.cluster.placing import Room
from ropewalk.evaluation.executor import Begin
from ropewalk.evaluation.memory import machine_memory


class PoolWorker(Protocol):
    """Answers come as futures of the library."""

    @property
    def lifelines(self) -> Sequence[Any]:
        """Futures that end where a part of it is lost, and never otherwise."""
        ...

    def ready(self) -> Any:
        """Its rooms, once all of it has begun."""
        ...

    def work(self, task: tuple[Any, ...]) -> Any:
        """What comes of a task."""
        ...

    def end(self) -> None:
        """Whatever it is doing."""
        ...

    def __hash__(self) -> int: ...


class OneProcess:
    """A worker that is one actor."""

    lifelines = ()

    def __init__(self, ray: Any, share: dict[str, float], begin: Begin, threads: int) -> None:
        """share  of a machine: ``num_cpus`` or ``num_gpus``"""
        self._ray = ray
        self._actor = ray.remote(_Actor).options(**share).remote(begin, threads)

    def ready(self) -> Any:
        return self._actor.rooms.remote()

    def work(self, task: tuple[Any, ...]) -> Any:
        return self._actor.work.remote(*task)

    def end(self) -> None:
        self._ray.kill(self._actor)


class _Actor:
    """A process of its own. The library wants a class with state."""

    def __init__(self, begin: Begin, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._begin = begin
        self._work: Callable[..., Any] | None = None

    def rooms(self) -> tuple[Room, ...]:
        """Answers when the process has begun."""
        return (room_here(),)

    def work(self, *task: Any) -> Any:
        if self._work is None:
            self._work = self._begin(None)
        return self._work(*task)


def room_here() -> Room:
    """The GPU of this process, or its machine."""
    import ray
    import torch

    node = ray.get_runtime_context().get_node_id()
    if torch.cuda.is_available():
        return Room(
            place=f"{node} {torch.cuda.get_device_properties(0).uuid}",
            memory=torch.cuda.get_device_properties(0).total_memory,
        )
    return Room(place=node, memory=machine_memory())
