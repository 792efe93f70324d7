"""Predictions of a sequence that ranks read together, as a verification asks for them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ropewalk.integrations.extension import EXTENSION
from ropewalk.integrations.output_layer import decoder_of
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.ranks.cutting import shares
from ropewalk.ranks.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedPredictor(TransformersPredictor):
    """The same requests on every rank; each then has the hidden states of all tokens.

    The library's own path is not shared out: every rank then computes it all.
    """

    ranks: Ranks

    def _run(self, ids: Tensor, **inputs: Any) -> Any:
        out = decoder_of(self.model)(ids.to(self.device), **inputs)
        size, tokens = self.ranks.size, ids.shape[1]
        shared = getattr(self.model, EXTENSION, None) is not None
        if shared and tokens >= size:
            counts = [len(each) for each in shares(tokens, size)]
            whole = torch.cat(self.ranks.gathered(out.last_hidden_state, counts), dim=1)
            out.last_hidden_state = whole
        return out
