"""Ranks that compute together, each a process of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType

import torch
import torch.distributed as dist
from torch import Tensor

from ropewalk.core.errors import first_line
from ropewalk.ranks.failing import PeerLost

LEADER = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranks:
    """This process among its like. All call the same methods in the same order.

    Every exchange raises PeerLost where another rank is gone, does not come to it, or all have
    parted. The groups are the library's: they end with the block in which ranks are together,
    whoever still holds this. A group that lives until the interpreter is taken down may abort it,
    since gloo's threads free tensors (torch's pull request 179291).

    rank     its number; rank 0 leads
    size     P
    tensors  the group over which tensors go, on their own device
    words    the group over which objects go, on the CPU, where one may wait for long
    """

    rank: int
    size: int
    tensors: ReferenceType[dist.ProcessGroup]
    words: ReferenceType[dist.ProcessGroup]

    def swapped(
        self, parts: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, ...]:
        """Part r goes to rank r; what comes from each rank has the shapes told.

        Bytes are moved, so that every dtype can be.
        """
        sent = torch.cat([part.reshape(-1) for part in parts])
        numbers = [torch.Size(shape).numel() for shape in shapes]
        received = sent.new_empty(sum(numbers))
        width = sent.element_size()
        with _meeting(self.tensors) as group:
            dist.all_to_all_single(
                received.view(torch.uint8),
                sent.view(torch.uint8),
                [width * number for number in numbers],
                [width * part.numel() for part in parts],
                group=group,
            )
        pieces = received.split(numbers)
        return tuple(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True))

    def gathered(self, own: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """What each rank has, ``[b, counts[r], ...]``, on every rank."""
        longest = max(counts)
        room = own.new_zeros(own.shape[0], longest, *own.shape[2:])
        room[:, : own.shape[1]] = own
        found = [torch.empty_like(room) for _ in range(self.size)]
        with _meeting(self.tensors) as group:
            dist.all_gather(found, room, group=group)
        return tuple(each[:, :count] for each, count in zip(found, counts, strict=True))

    def summed(self, own: Tensor) -> Tensor:
        """The sum of what each rank has, on every rank."""
        total = own.clone()
        with _meeting(self.tensors) as group:
            dist.all_reduce(total, group=group)
        return total

    def each_has(self, own: object) -> list[Any]:
        """What each rank has, by rank."""
        found: list[Any] = [None] * self.size
        with _meeting(self.words) as group:
            dist.all_gather_object(found, own, group=group)
        return found

    def told(self, word: object = None) -> Any:
        """The leader's word, on every rank."""
        told = [word]
        with _meeting(self.words) as group:
            dist.broadcast_object_list(told, LEADER, group=group)
        return told[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ranks":
        """A process group is not copied."""
        return self


@contextmanager
def _meeting(place: ReferenceType[dist.ProcessGroup]) -> Iterator[dist.ProcessGroup]:
    """An exchange over a group; what the library raises there is about the others."""
    group = place()
    if group is None:
        raise PeerLost("the ranks have parted: start all of them again")
    try:
        yield group
    except RuntimeError as error:
        raise PeerLost(f"another rank is gone ({first_line(error)})") from error
