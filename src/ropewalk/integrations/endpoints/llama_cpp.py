"""llama.cpp: nothing of a prompt, so the likeliest tokens after some of its prefixes.

Source: llama.cpp 0c1e57098, tools/server (``/completion``, ``n_probs``).
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation
from ropewalk.integrations.endpoints.answers import (
    Told,
    at,
    logprob,
    loss,
    of_rows,
    token,
    tokens,
)
from ropewalk.integrations.endpoints.endpoint import PROBES, Endpoint, Progress, spread
from ropewalk.integrations.endpoints.server import ServerRefusal

TOP = 20
EVERY = 2**22
"""More tokens than a vocabulary has; the server gives as many as there are."""
_OPTIONS = {"temperature": -1, "cache_prompt": True}


class LlamaCpp(Endpoint):
    """``n_probs`` at growing prefixes, each over the cached one before.

    A temperature below 0 takes the likeliest token and still gives probabilities.
    """

    engine: ClassVar[str] = "llama.cpp"
    how: ClassVar[str] = f"the {TOP} likeliest tokens at some prefixes"

    @property
    def admitted(self) -> int | None:
        """A slot's context less the token that is generated."""
        try:
            settings = at(self.server.get("/props"), "default_generation_settings")
        except ServerRefusal:  # started with --no-props, or behind something
            return None
        context = settings.get("n_ctx") if isinstance(settings, dict) else None
        return context - 1 if isinstance(context, int) and context > 0 else None

    def observe(self, ids: Tensor, progress: Progress) -> Observation:
        listed, rows, told = ids.tolist(), spread(len(ids), PROBES), []
        for done, row in enumerate(rows, start=1):
            told.append(self._top(listed[: row + 1], TOP))
            progress(done / len(rows))
        return of_rows(rows, told)

    def scored(self, ids: Sequence[int], first: int) -> Told:
        """A request for each token, over the cached ones before it."""
        losses, most_likely = [], []
        for row in range(first, len(ids)):
            top = self._top(ids[:row], TOP)
            if ids[row] not in top:
                top = self._top(ids[:row], EVERY)
            if ids[row] not in top:
                raise RopewalkError(
                    f"llama.cpp told nothing of token {ids[row]}: expected the server of the same "
                    "model"
                )
            losses.append(loss(top[ids[row]]))
            most_likely.append(max(top, key=lambda one: top[one]) == ids[row])
        return Told(losses, most_likely)

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        body = {"prompt": list(ids), "n_predict": count, "return_tokens": True}
        return tokens(at(self.server.post("/completion", {**body, **_OPTIONS}), "tokens"))

    def _top(self, prompt: Sequence[int], count: int) -> dict[int, float]:
        """Log-probabilities of the ``count`` likeliest tokens after a prompt."""
        body = {"prompt": list(prompt), "n_predict": 1, "n_probs": count, **_OPTIONS}
        told = at(self.server.post("/completion", body), "completion_probabilities", 0)
        found = at(told, "top_logprobs")
        return {token(at(one, "id")): logprob(at(one, "logprob")) for one in found}
