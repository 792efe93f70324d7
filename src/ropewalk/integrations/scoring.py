"""A transformers model as the ``LanguageModel`` that measuring asks for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import WaveSlope
from ropewalk.core.loss import token_losses
from ropewalk.core.passes import Pass
from ropewalk.integrations.cache_names import cache_argument, cache_in
from ropewalk.integrations.modes import evaluating
from ropewalk.integrations.output_layer import decoder_of, family_head
from ropewalk.integrations.placement import placed_ids
from ropewalk.integrations.reader import TransformersReader
from ropewalk.integrations.slopes import wave_slope

Advance = Callable[[int], None]
"""Told the number of tokens that were just fed."""


class TransformersScorer:
    """Scores with a causal model as it stands, extended or not, without dropout.

    Raises RopewalkError for a model that predicts no next token.
    """

    def __init__(self, model: nn.Module, advance: Advance = lambda tokens: None) -> None:
        _require_next_tokens(model)
        self.model, self.advance = model, advance

    @torch.no_grad()
    def token_losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        """As ``LanguageModel.token_losses``: nats."""
        rows = placed_ids(self.model, ids.reshape(-1, ids.shape[-1]))
        targets = rows[:, first:]
        with evaluating(self.model):
            hidden = self._hidden_states(rows, split)[:, first - 1 : -1]
            with family_head(self.model) as head:
                losses = token_losses(hidden.flatten(0, 1), targets.flatten(), head)
        return losses.cpu().view(*ids.shape[:-1], -1)

    def wave_slope(self, ids: Tensor, first: int) -> WaveSlope:
        """As ``SlopedModel.wave_slope``."""
        with evaluating(self.model):
            return wave_slope(self.model, ids, first)

    def read(self, prompts: Tensor, split: Pass) -> TransformersReader:
        """As ``AnsweringModel.read``."""
        return TransformersReader(self.model, prompts, split)

    def _hidden_states(self, ids: Tensor, split: Pass) -> Tensor:
        """Last hidden states ``[b, n, width]`` of sequences ``[b, n]`` fed as ``split`` says."""
        decoder = decoder_of(self.model)
        calls = list(split.calls(ids.shape[1]))
        states, cache = [], None
        for start, stop in calls:
            given = cache_argument(decoder, cache)
            out = decoder(ids[:, start:stop], use_cache=len(calls) > 1, **given)
            cache = cache_in(out)
            states.append(out.last_hidden_state)
            self.advance(ids[:, start:stop].numel())
        return torch.cat(states, dim=1)


def _require_next_tokens(model: Any) -> None:
    can_generate = getattr(model, "can_generate", lambda: False)
    if decoder_of(model) is model or not can_generate():
        raise RopewalkError(
            f"{type(model).__name__} predicts no next token, so it has no loss to measure: "
            "expected a causal language model (transformers' AutoModelForCausalLM)"
        )
