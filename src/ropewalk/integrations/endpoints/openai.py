"""Any server of OpenAI's completions: the prompt's log-probabilities, or the tokens it takes.

``echo`` with ``logprobs`` gives those of the prompt. Servers that ignore either are asked for one
greedy token after some prefixes, by ids where they take them, else by text.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation, ToldTokens
from ropewalk.integrations.endpoints.answers import Told, at, logprob, loss, of_prompt
from ropewalk.integrations.endpoints.endpoint import Endpoint, Progress, spread
from ropewalk.integrations.endpoints.server import ServerRefusal

GREEDY_PROBES = 40
"""A token alone tells less than its log-probability."""


class OpenAICompatible(Endpoint):
    """``POST /v1/completions``."""

    engine: ClassVar[str] = "openai"
    how: ClassVar[str] = "prompt log-probabilities, or greedy tokens at some prefixes"

    @property
    def admitted(self) -> int | None:
        most = self.facts.get("max_model_len")
        return most - 1 if isinstance(most, int) else None

    def observe(self, ids: Tensor, progress: Progress) -> Observation:
        return self._echoed(ids) or self._greedy(ids, progress)

    def scored(self, ids: Sequence[int], first: int) -> Told:
        try:
            found = self._echo(list(ids))
        except ServerRefusal:
            found = None
        if found is None:
            raise RopewalkError(
                f"{self.server.url} tells no log-probabilities of a prompt (echo with logprobs): "
                "expected vLLM, SGLang, llama.cpp, or a server that does"
            )
        told, best = found
        pairs = zip(told[first:], best[first:], strict=True)
        losses = [loss(value) for value in told[first:]]
        return Told(losses, [logprob(value) >= _largest(top) for value, top in pairs])

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        if self.texts is None:
            raise RopewalkError(
                f"{self.server.url} tells text alone: expected tokenizer.json beside the weights"
            )
        answer = at(self._complete(list(ids), max_tokens=count), "text")
        if not isinstance(answer, str):
            raise RopewalkError("choices.0.text of the server's answer: expected text")
        return list(self.texts.encode(answer, add_special_tokens=False))[:count]

    def _echo(self, listed: list[int]) -> tuple[list[Any], list[Any]] | None:
        """Log-probability of each token of a prompt, and those of the likeliest in its place."""
        choice = self._complete(listed, echo=True, logprobs=1)
        logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
        told = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
        # Behind the prompt's tokens stands the one that was generated.
        if not isinstance(told, list) or len(told) not in (len(listed), len(listed) + 1):
            return None
        best = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
        tops = best if isinstance(best, list) else [None] * len(told)
        return told[: len(listed)], tops[: len(listed)]

    def _complete(self, prompt: object, **options: Any) -> Any:
        body = {"model": self.model, "prompt": prompt, "max_tokens": 1, "temperature": 0}
        return at(self.server.post("/v1/completions", {**body, **options}), "choices", 0)

    def _echoed(self, ids: Tensor) -> Observation | None:
        """None where the server tells nothing of the prompt."""
        try:
            found = self._echo(ids.tolist())
        except ServerRefusal:
            return None
        return None if found is None else of_prompt(ids, [logprob(one) for one in found[0][1:]])

    def _greedy(self, ids: Tensor, progress: Progress) -> Observation:
        if self.texts is None:
            raise RopewalkError(
                f"{self.server.url} tells no log-probabilities of a prompt, and greedy text needs "
                "the model's tokenizer: expected tokenizer.json beside the weights"
            )
        rows = spread(len(ids), GREEDY_PROBES)
        taken = []
        for done, row in enumerate(rows, start=1):
            taken.append(self._next(ids[: row + 1].tolist(), self.texts))
            progress(done / len(rows))
        kept = [(row, one) for row, one in zip(rows, taken, strict=True) if one is not None]
        if not kept:
            raise RopewalkError(
                f"{self.server.url} answers with text that is no token of the model: expected "
                "greedy completions of one token"
            )
        told = [[one] for _, one in kept]
        return ToldTokens(rows=torch.tensor([row for row, _ in kept]), ids=torch.tensor(told))

    def _next(self, prefix: list[int], texts: Any) -> int | None:
        """The token that the server takes; None where its text is not one token of the model's."""
        text = texts.decode(prefix)
        if texts.encode(text, add_special_tokens=False) != prefix:
            return None  # the server would read other tokens
        answer = at(self._complete(text), "text")
        if not isinstance(answer, str):
            raise RopewalkError("choices.0.text of the server's answer: expected text")
        both = texts.encode(text + answer, add_special_tokens=False)
        one_more = len(both) == len(prefix) + 1 and both[:-1] == prefix
        return both[-1] if one_more else None


def _largest(top: object) -> float:
    """The largest log-probability of a place; RopewalkError where none is told."""
    if not isinstance(top, dict) or not top:
        raise RopewalkError(
            "the server tells no likeliest tokens of a prompt (top_logprobs): expected one that "
            "does, to say what greedy decoding takes"
        )
    return max(logprob(value) for value in top.values())
