"""A transformers model that has read prompts, and answers through the same key cache."""

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ropewalk.core.answering import ForcedAnswer
from ropewalk.core.passes import Pass
from ropewalk.integrations.cache_names import cache_argument, cache_in
from ropewalk.integrations.modes import evaluating
from ropewalk.integrations.output_layer import decoder_of, family_head
from ropewalk.integrations.placement import input_device, placed_ids


class TransformersReader:
    """As ``Reader``: the prompts go in as a pass says, answers in calls after them.

    The cache is copied for each question, so that no answer is seen by the next.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, prompts: Tensor, split: Pass) -> None:
        self._model = model
        self._device = input_device(model)
        self._cache: Any = None
        states, prompts = prompts.new_empty(0), placed_ids(model, prompts)
        with evaluating(model):
            for start, stop in split.calls(prompts.shape[1]):
                states, self._cache = self._fed(prompts[:, start:stop], self._cache)
        self._last = states[:, -1:]

    @torch.no_grad()
    def forced(self, continuations: Tensor) -> ForcedAnswer:
        """As ``Reader.forced``."""
        targets = placed_ids(self._model, continuations)
        with evaluating(self._model):
            states = self._last
            if targets.shape[1] > 1:
                more, _ = self._fed(targets[:, :-1], copy.deepcopy(self._cache))
                states = torch.cat([states, more], dim=1)
            logits = self._logits(states)
        losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return ForcedAnswer(losses.double().cpu(), (logits.argmax(-1) == targets).cpu())

    @torch.no_grad()
    def greedy(self, count: int, stops: Collection[int]) -> Tensor:
        """As ``Reader.greedy``."""
        cache, states = copy.deepcopy(self._cache), self._last
        ends = torch.tensor(sorted(stops), device=self._device, dtype=torch.long)
        tokens: list[Tensor] = []
        ended = torch.zeros(len(states), dtype=torch.bool, device=self._device)
        with evaluating(self._model):
            while len(tokens) < count:
                tokens.append(self._logits(states)[:, -1].argmax(-1))
                ended |= torch.isin(tokens[-1], ends)
                if bool(ended.all()) or len(tokens) == count:
                    break
                states, cache = self._fed(tokens[-1][:, None], cache)
        return torch.stack(tokens, dim=1).cpu()

    def _fed(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Last hidden states ``[b, t, width]`` of one call, and the cache after it."""
        decoder = decoder_of(self._model)
        out = decoder(ids.to(self._device), use_cache=True, **cache_argument(decoder, cache))
        return out.last_hidden_state, cache_in(out)

    def _logits(self, states: Tensor) -> Tensor:
        """float32 (float64 of a float64 model) ``[b, t, vocabulary]``."""
        with family_head(self._model) as head:
            logits = head(states.flatten(0, 1))
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return wide.view(*states.shape[:-1], -1)
