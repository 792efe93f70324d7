"""SGLang: log-probabilities of a prompt, in one request of its own protocol.

Source: SGLang 0.5.23, srt/managers/io_struct.py (GenerateReqInput).
"""

from typing import ClassVar

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation
from ropewalk.integrations.endpoints.answers import at, logprob, of_prompt, token
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
        listed = ids.tolist()
        body = {
            "input_ids": listed,
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": 0,
        }
        told = at(self.server.post("/generate", body), "meta_info", "input_token_logprobs")
        if not isinstance(told, list) or [token(at(row, 1)) for row in told] != listed:
            raise RopewalkError(
                "SGLang told log-probabilities of another prompt: expected the tokens that were "
                "sent; restart it without truncation"
            )
        return of_prompt(ids, [logprob(at(row, 0)) for row in told[1:]])
