"""vLLM: log-probabilities of a prompt, in one request.

Source: vLLM 0.33.0, entrypoints/openai (``prompt_logprobs`` of completions); run on 0.32.0.
"""

from typing import ClassVar

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation, ToldLogprobs
from ropewalk.integrations.endpoints.answers import (
    at,
    logprob,
    of_prompt,
    without_numbers_behind,
)
from ropewalk.integrations.endpoints.endpoint import Endpoint, Progress
from ropewalk.integrations.endpoints.server import ComputesNaN


class VLLM(Endpoint):
    """``prompt_logprobs: 0`` gives the log-probability of each token of the prompt itself.

    A prompt with one that is no number is answered with status 500: shorter ones are asked then.
    """

    engine: ClassVar[str] = "vllm"
    how: ClassVar[str] = "prompt log-probabilities"

    @property
    def admitted(self) -> int | None:
        # One token is generated.
        most = self.facts.get("max_model_len")
        return most - 1 if isinstance(most, int) else None

    def observe(self, ids: Tensor, progress: Progress) -> Observation:
        try:
            return self._told(ids)
        except ComputesNaN:
            return without_numbers_behind(self._told(ids[: self._longest(ids, progress)]), ids)

    def _longest(self, ids: Tensor, progress: Progress) -> int:
        """Tokens of the longest prompt of numbers alone, by halves; one of two tokens has some.

        Raises ComputesNaN where even that has not.
        """
        known, not_known = 2, len(ids)
        self._told(ids[:known])
        while not_known - known > 1:
            middle = (known + not_known) // 2
            try:
                self._told(ids[:middle])
                known = middle
            except ComputesNaN:
                not_known = middle
            progress(1 - (not_known - known) / len(ids))
        return known

    def _told(self, ids: Tensor) -> ToldLogprobs:
        listed = ids.tolist()
        body = {"model": self.model, "prompt": listed, "max_tokens": 1, "temperature": 0}
        answer = self.server.post("/v1/completions", {**body, "prompt_logprobs": 0})
        told = at(answer, "choices", 0, "prompt_logprobs")
        if not isinstance(told, list) or len(told) != len(listed):
            raise RopewalkError(
                f"vLLM told log-probabilities of another prompt: expected {len(listed):,} entries"
            )
        pairs = zip(listed[1:], told[1:], strict=True)
        return of_prompt(ids, [logprob(at(row, str(one), "logprob")) for one, row in pairs])
