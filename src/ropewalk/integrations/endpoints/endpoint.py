"""What every kind of server is asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation
from ropewalk.integrations.endpoints.answers import Told, at, embedding
from ropewalk.integrations.endpoints.server import Server

PROBES = 14
"""Prefixes that are asked where a server tells nothing of a prompt."""
Progress = Callable[[float], None]
"""Told the share that is done."""


class Texts(Protocol):
    """A tokenizer of transformers."""

    def decode(self, token_ids: Any) -> Any: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(ABC):
    """A server of one engine.

    model   the name under which it serves the model
    facts   its entry in ``/v1/models``
    texts   the tokenizer, for servers that take text alone; None where there is none
    """

    engine: ClassVar[str]
    how: ClassVar[str]
    """What it is asked for, in words."""

    server: Server
    model: str
    facts: dict[str, Any] = field(default_factory=dict)
    texts: Texts | None = None

    @property
    def admitted(self) -> int | None:
        """Tokens of the longest prompt that it takes; None where it does not say."""
        return None

    @abstractmethod
    def observe(self, ids: Tensor, progress: Progress) -> Observation:
        """What it predicts along a sequence of tokens, int64 ``[n]``.

        Raises RopewalkError for an answer of another form, and as ``Server`` does.
        """

    @abstractmethod
    def scored(self, ids: Sequence[int], first: int) -> Told:
        """Tokens ``first`` .. of a sequence, first at least 1.

        Raises RopewalkError for a server that does not tell them, and as ``observe`` does.
        """

    @abstractmethod
    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        """The tokens that it takes after a prompt, at most ``count``: fewer where it ends.

        Raises RopewalkError as ``observe`` does.
        """

    def embed(self, ids: Tensor) -> Tensor:
        """The embedding of a text, float64 ``[d]``, in OpenAI's protocol, which all speak.

        Raises RopewalkError as ``observe`` does.
        """
        body = {"model": self.model, "input": ids.tolist(), "encoding_format": "float"}
        return embedding(at(self.server.post("/v1/embeddings", body), "data", 0, "embedding"))


def spread(length: int, count: int) -> list[int]:
    """Rows of at most ``count`` prefixes, evenly spread up to the last."""
    count = min(count, length)
    return torch.linspace(length / count, length, count).round().long().sub(1).tolist()


def models(server: Server) -> dict[str, Any]:
    """The first entry of ``/v1/models``; RopewalkError where there is none."""
    entry = at(server.get("/v1/models"), "data", 0)
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise RopewalkError(
            f"{server.url}/v1/models: expected a model with an id; is this the server's address?"
        )
    return entry
