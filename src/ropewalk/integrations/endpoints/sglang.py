"""SGLang: log-probabilities of a prompt, in one request of its own protocol.

Source: SGLang 0.5.23, srt/managers/io_struct.py (GenerateReqInput).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation
from ropewalk.integrations.endpoints.answers import Told, at, logprob, loss, of_prompt, token
from ropewalk.integrations.endpoints.endpoint import Endpoint, Progress

RESERVED = 7
"""Tokens of the context length that a prompt may not fill: 1 and 5 are kept, and a prompt must be
shorter than the rest (tp_worker.py, max_req_input_len; managers/utils.py); seen on 0.5.23."""


class SGLang(Endpoint):
    """``input_token_logprobs``: log-probability, id and text of each token of the prompt."""

    engine: ClassVar[str] = "sglang"
    how: ClassVar[str] = "prompt log-probabilities"

    @property
    def admitted(self) -> int | None:
        most = self.facts.get("max_model_len")
        return most - RESERVED if isinstance(most, int) else None

    def observe(self, ids: Tensor, progress: Progress) -> Observation:
        told, _ = self._told(ids.tolist())
        return of_prompt(ids, [logprob(at(row, 0)) for row in told[1:]])

    def scored(self, ids: Sequence[int], first: int) -> Told:
        told, meta = self._told(list(ids), top_logprobs_num=1)
        best = at(meta, "input_top_logprobs")
        if not isinstance(best, list) or len(best) != len(told):
            raise RopewalkError("SGLang told the likeliest tokens of another prompt")
        return Told(
            losses=[loss(at(row, 0)) for row in told[first:]],
            most_likely=[
                token(at(row, 1)) == token(at(top, 0, 1))
                for row, top in zip(told[first:], best[first:], strict=True)
            ],
        )

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        sampling = {"max_new_tokens": count, "temperature": 0}
        body = {"input_ids": list(ids), "sampling_params": sampling, "return_logprob": True}
        answer = self.server.post("/generate", {**body, "logprob_start_len": -1})
        taken = at(answer, "meta_info", "output_token_logprobs")
        if not isinstance(taken, list):
            raise RopewalkError("SGLang told no tokens that it took")
        return [token(at(row, 1)) for row in taken]

    def _told(self, listed: list[int], **more: int) -> tuple[list[Any], Any]:
        """Log-probability and id of each token of a prompt, and what was told beside them."""
        body = {
            "input_ids": listed,
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": 0,
        }
        answer = self.server.post("/generate", {**body, **more})
        told = at(answer, "meta_info", "input_token_logprobs")
        if not isinstance(told, list) or [token(at(row, 1)) for row in told] != listed:
            raise RopewalkError(
                "SGLang told log-probabilities of another prompt: expected the tokens that were "
                "sent; restart it without truncation"
            )
        return told, answer["meta_info"]
