"""vLLM: log-probabilities of a prompt, in one request.

Source: vLLM 0.33.0, entrypoints/openai (``prompt_logprobs`` of completions); run on 0.32.0.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation, ToldLogprobs
from ropewalk.integrations.endpoints.answers import (
    Told,
    at,
    logprob,
    loss,
    of_prompt,
    tokens,
    without_numbers_behind,
)
from ropewalk.integrations.endpoints.endpoint import Endpoint, Progress
from ropewalk.integrations.endpoints.server import ComputesNaN

_TRIES = 3
"""Of a prompt without numbers."""


class VLLM(Endpoint):
    """``prompt_logprobs: 0`` gives the log-probability of each token of the prompt itself, and its
    rank, which says whether greedy decoding takes it.

    A prompt with one that is no number is answered with an error: shorter ones are asked then.
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
            return without_numbers_behind(self._longest(ids, progress), ids)

    def _longest(self, ids: Tensor, progress: Progress) -> ToldLogprobs:
        """What is told of the longest prompt of numbers alone that is found.

        Doubled until numbers end, then by halves. Raises ComputesNaN where no prompt has numbers.
        """
        told, known, not_known = self._doubled(ids)
        while not_known - known > 1:
            middle = (known + not_known) // 2
            try:
                told, known = self._told_again(ids[:middle]), middle
            except ComputesNaN:
                not_known = middle
            progress(1 - (not_known - known) / len(ids))
        return told

    def _doubled(self, ids: Tensor) -> tuple[ToldLogprobs, int, int]:
        """What is told of the longest power of two with numbers, it, and the next.

        Numbers are what they are; NaN of a short prompt may be a spoiled block's.
        """
        found: tuple[ToldLogprobs, int, int] | None = None
        size = 2
        while size < len(ids):
            try:
                found = self._told_again(ids[:size]), size, min(2 * size, len(ids))
            except ComputesNaN:
                if found is not None:
                    break
            size *= 2
        if found is None:
            raise ComputesNaN(f"{self.server.url}: it computes NaN, for prompts of any length")
        return found

    def _told_again(self, ids: Tensor) -> ToldLogprobs:
        """As ``_told``, asked again where there are no numbers.

        A block of the key cache that held NaN spoils the next prompt that is given it, behind its
        last token too (seen on the CPU); another try is given another block.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._told(ids)
            except ComputesNaN:
                pass
        return self._told(ids)

    def scored(self, ids: Sequence[int], first: int) -> Told:
        rows = self._rows(list(ids))[first:]
        return Told(
            losses=[loss(at(row, "logprob")) for row in rows],
            most_likely=[at(row, "rank") == 1 for row in rows],
        )

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        body = {"model": self.model, "prompt": list(ids), "max_tokens": count, "temperature": 0}
        answer = self.server.post("/v1/completions", {**body, "return_token_ids": True})
        return tokens(at(answer, "choices", 0, "token_ids"))

    def _told(self, ids: Tensor) -> ToldLogprobs:
        rows = self._rows(ids.tolist())[1:]
        return of_prompt(ids, [logprob(at(row, "logprob")) for row in rows])

    def _rows(self, listed: list[int]) -> list[Any]:
        """What was told of each token of a prompt; of the first, nothing."""
        body = {"model": self.model, "prompt": listed, "max_tokens": 1, "temperature": 0}
        answer = self.server.post("/v1/completions", {**body, "prompt_logprobs": 0})
        told = at(answer, "choices", 0, "prompt_logprobs")
        if not isinstance(told, list) or len(told) != len(listed):
            raise RopewalkError(
                f"vLLM told log-probabilities of another prompt: expected {len(listed):,} entries"
            )
        pairs = zip(listed[1:], told[1:], strict=True)
        return [None, *(at(row, str(one)) for one, row in pairs)]
