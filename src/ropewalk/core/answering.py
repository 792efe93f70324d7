"""What a retrieval task asks of a model: to read a prompt, and then to answer in two ways."""

from collections.abc import Collection
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from ropewalk.core.passes import Pass


class ForcedAnswer(NamedTuple):
    """What a model gives to continuations that it is fed (teacher forcing).

    losses       float64 ``[b, t]``: nats of each token, given all before it
    most_likely  bool ``[b, t]``: whether the token is the one that greedy decoding takes
    """

    losses: Tensor
    most_likely: Tensor


class Reader(Protocol):
    """A model that has read prompts ``[b, n]``. Asking changes nothing for the next question."""

    def forced(self, continuations: Tensor) -> ForcedAnswer:
        """Of int64 ``[b, t]`` after the prompts, on the CPU."""
        ...

    def greedy(self, count: int, stops: Collection[int]) -> Tensor:
        """The most likely token again and again: int64 ``[b, t]``, t at most ``count``, on the CPU.

        Ends early when every row holds one of ``stops``.
        """
        ...


@runtime_checkable
class AnsweringModel(Protocol):
    """A causal model whose encoding is already chosen."""

    def read(self, prompts: Tensor, split: Pass) -> Reader:
        """Feed prompts ``[b, n]`` as ``split`` says; answers go through the same key cache."""
        ...
