"""llama.cpp: nothing of a prompt, so the likeliest tokens after some of its prefixes.

Source: llama.cpp 0c1e57098, tools/server (``/completion``, ``n_probs``).
"""

from typing import ClassVar

from torch import Tensor

from ropewalk.core.observation import Observation
from ropewalk.integrations.endpoints.answers import at, logprob, of_rows, token
from ropewalk.integrations.endpoints.endpoint import PROBES, Endpoint, Progress, spread
from ropewalk.integrations.endpoints.server import Refused

TOP = 20


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
        except Refused:  # started with --no-props, or behind something
            return None
        context = settings.get("n_ctx") if isinstance(settings, dict) else None
        return context - 1 if isinstance(context, int) and context > 0 else None

    def observe(self, ids: Tensor, progress: Progress) -> Observation:
        listed, rows, told = ids.tolist(), spread(len(ids), PROBES), []
        options = {"n_predict": 1, "n_probs": TOP, "temperature": -1, "cache_prompt": True}
        for done, row in enumerate(rows, start=1):
            answer = self.server.post("/completion", {"prompt": listed[: row + 1], **options})
            top = at(answer, "completion_probabilities", 0, "top_logprobs")
            told.append({token(at(one, "id")): logprob(at(one, "logprob")) for one in top})
            progress(done / len(rows))
        return of_rows(rows, told)
