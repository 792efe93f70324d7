"""A running server as the model that measuring asks: losses, and answers to prompts.

A server feeds a prompt in a way of its own, and its method is what it was started with: here it
is asked, not changed. Sequences of a batch are asked for at once.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ropewalk.core.answering import ForcedAnswer
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass, Pass
from ropewalk.integrations.endpoints.answers import Told
from ropewalk.integrations.endpoints.endpoint import Endpoint
from ropewalk.integrations.endpoints.server import SECONDS, Server
from ropewalk.integrations.endpoints.table import connect
from ropewalk.integrations.loading import load_tokenizer
from ropewalk.methods.spec import Spec

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedSource:
    """A server by its URL, as a source of any process.

    place    of the checkpoint that it serves, whose tokenizer is read
    engine   its name; None: as the server says
    seconds  time of one request, retries included
    """

    url: str
    place: str | Path
    engine: str | None = None
    seconds: float = SECONDS

    def open(self) -> "ServedSession":
        """Raises RopewalkError for a server that cannot be asked."""
        texts = load_tokenizer(self.place)
        return ServedSession(connect(Server.at(self.url, self.seconds), self.engine, texts))


class ServedSession:
    """As evaluation's ``Session``: whatever method is named, the server computes its own."""

    device = torch.device("cpu")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def use(self, method: Spec, length: int, split: Pass) -> "ServedModel":
        """Raises RopewalkError for another mode than full, and a length that is not admitted."""
        if not isinstance(split, FullPass):
            raise RopewalkError(
                f"mode {split.name} of a running server: it feeds prompts in its own way; expected "
                "mode full"
            )
        admitted = self.endpoint.admitted
        if admitted is not None and length > admitted:
            raise RopewalkError(
                f"length {length:,}: the server admits prompts of at most {admitted:,} tokens; "
                "ask for fewer, or start it with a longer context"
            )
        return ServedModel(self.endpoint)

    def close(self) -> None:
        """Nothing was changed."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """As ``LanguageModel`` and ``AnsweringModel``."""

    endpoint: Endpoint

    def token_losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        """As ``LanguageModel.token_losses``: nats."""
        rows = ids.reshape(-1, ids.shape[-1]).tolist()
        told = _at_once(lambda row: self.endpoint.scored(row, first).losses, rows)
        return torch.tensor(told, dtype=torch.float64).view(*ids.shape[:-1], -1)

    def read(self, prompts: Tensor, split: Pass) -> "ServedReader":
        """As ``AnsweringModel.read``."""
        return ServedReader(self.endpoint, prompts.tolist())


@dataclass(frozen=True, slots=True)
class ServedReader:
    """As ``Reader``: each question is sent with its prompt, which a server may have cached."""

    endpoint: Endpoint
    prompts: list[list[int]]

    def forced(self, continuations: Tensor) -> ForcedAnswer:
        """As ``Reader.forced``."""
        pairs = list(zip(self.prompts, continuations.tolist(), strict=True))

        def ask(pair: tuple[list[int], list[int]]) -> Told:
            prompt, answer = pair
            return self.endpoint.scored([*prompt, *answer], len(prompt))

        told = _at_once(ask, pairs)
        return ForcedAnswer(
            torch.tensor([each.losses for each in told], dtype=torch.float64),
            torch.tensor([each.most_likely for each in told]),
        )

    def greedy(self, count: int, stops: Collection[int]) -> Tensor:
        """As ``Reader.greedy``; a row that ended is filled up with one of ``stops``."""
        rows = _at_once(lambda prompt: self.endpoint.continued(prompt, count), self.prompts)
        longest = max(1, *map(len, rows))
        if any(len(row) < longest for row in rows) and not stops:
            raise RopewalkError(
                "the server ended an answer, and the tokenizer has no token that ends one: "
                "expected special tokens"
            )
        end = min(stops, default=0)
        return torch.tensor([[*row, *[end] * (longest - len(row))] for row in rows])


_Asked = TypeVar("_Asked")


def _at_once(ask: Callable[[_Asked], Found], each: Sequence[_Asked]) -> list[Found]:
    """All requests of a batch, side by side."""
    if len(each) == 1:
        return [ask(each[0])]
    with ThreadPoolExecutor(len(each)) as threads:
        return list(threads.map(ask, each))
