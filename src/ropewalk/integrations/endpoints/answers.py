"""Reading what servers send: every shape is checked, for a server may send anything."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import ToldLogprobs


class Told(NamedTuple):
    """What a server gives to tokens of a sequence, each given all before it.

    losses       nats
    most_likely  whether greedy decoding takes the token
    """

    losses: list[float]
    most_likely: list[bool]


_ABOVE_ZERO = 1e-3
"""A log-probability may exceed 0 by rounding."""


def at(answer: object, *path: str | int) -> Any:
    """What stands at a path of keys and places; RopewalkError where nothing does."""
    found: Any = answer
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            named = ".".join(map(str, path))
            raise RopewalkError(
                f"the server's answer has no {named}: expected it of this engine; name another one "
                "with --engine"
            ) from None
    return found


def logprob(value: object) -> float:
    """A log-probability, NaN for what is none; RopewalkError for a positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise RopewalkError(f"log-probability {value!r:.40}: expected a number")
    number = math.nan if value is None else float(value)
    if number > _ABOVE_ZERO:
        raise RopewalkError(f"log-probability {number:g}: expected none above 0")
    return number if math.isfinite(number) else math.nan


def embedding(values: object) -> Tensor:
    """A vector, NaN where it has no number; RopewalkError for anything else."""
    if not isinstance(values, list) or not values:
        raise RopewalkError(f"embedding {values!r:.40}: expected a list of numbers")
    for each in values:
        if isinstance(each, bool) or not isinstance(each, int | float | None):
            raise RopewalkError(f"embedding with {each!r:.40}: expected numbers")
    known = [math.nan if each is None else float(each) for each in values]
    return torch.tensor(known, dtype=torch.float64)


def token(value: object) -> int:
    """A token's id; RopewalkError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise RopewalkError(f"token {value!r:.40}: expected a whole number")
    return value


def tokens(values: object) -> list[int]:
    """Ids of tokens; RopewalkError for anything else."""
    if not isinstance(values, list):
        raise RopewalkError(f"tokens {values!r:.40}: expected a list of whole numbers")
    return [token(each) for each in values]


def loss(value: object) -> float:
    """Nats of a log-probability; RopewalkError where the server gives no number."""
    number = logprob(value)
    if math.isnan(number):
        raise RopewalkError(
            "the server gives a token a log-probability that is no number; its log says why, or "
            "ask for a shorter --length"
        )
    return max(-number, 0.0)


def of_prompt(ids: Tensor, logprobs: Sequence[float]) -> ToldLogprobs:
    """Log-probabilities of tokens 1 .. n - 1 of a prompt, each given all before it."""
    if len(logprobs) != len(ids) - 1:
        raise RopewalkError(
            f"{len(logprobs):,} log-probabilities for a prompt of {len(ids):,} tokens: expected "
            f"{len(ids) - 1:,}; the server cut the prompt, or added tokens to it"
        )
    return ToldLogprobs(
        rows=torch.arange(len(ids) - 1),
        ids=ids[1:, None],
        logprobs=torch.tensor(logprobs, dtype=torch.float64)[:, None],
    )


def without_numbers_behind(told: ToldLogprobs, ids: Tensor) -> ToldLogprobs:
    """What was told of a shorter prompt, as one of ``ids`` with NaN in the rest."""
    rest = [math.nan] * (len(ids) - 1 - len(told.rows))
    return of_prompt(ids, [*told.logprobs[:, 0].tolist(), *rest])


def of_rows(rows: Sequence[int], told: Sequence[Mapping[int, float]]) -> ToldLogprobs:
    """Log-probabilities of the likeliest tokens of some rows, as many of each."""
    count = min(map(len, told))
    if count == 0:
        raise RopewalkError("a row without log-probabilities: expected those of its top tokens")
    kept = [list(row.items())[:count] for row in told]
    return ToldLogprobs(
        rows=torch.tensor(rows),
        ids=torch.tensor([[one for one, _ in row] for row in kept]),
        logprobs=torch.tensor([[value for _, value in row] for row in kept], dtype=torch.float64),
    )
