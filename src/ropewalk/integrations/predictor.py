"""A transformers model as the ``Predictor`` that a verification asks, on this machine.

Only hidden states are kept for whole sequences; logits are made of a few rows at a time. Where
a model has no output layer, its hidden states stand for logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.integrations.cache_names import cache_argument, cache_in
from ropewalk.integrations.modes import at_rest, evaluating, rounded_embeddings
from ropewalk.integrations.output_layer import decoder_of, family_head
from ropewalk.integrations.placement import input_device

PLACED_TOKENS = 2048
"""A batch of longer sequences is fed without ``position_ids`` alone."""


@dataclass(frozen=True, slots=True, eq=False)
class TransformersPredictions:
    """Last hidden states ``[n, width]`` of a sequence, and the model whose head reads them."""

    model: nn.Module
    states: Tensor

    def __len__(self) -> int:
        return len(self.states)

    @torch.no_grad()
    def logits(self, start: int, stop: int) -> Tensor:
        """As ``Predictions.logits``."""
        with evaluating(self.model), family_head(self.model) as head:
            return head(self.states[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransformersPredictor:
    """Predicts with a model as it stands, extended or not, at rest before each request."""

    model: nn.Module
    name: str
    trained_length: int

    @property
    def vocabulary_size(self) -> int:
        return int(_embeddings(self.model).num_embeddings)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return input_device(self.model)

    def in_turn(self, *sequences: Tensor) -> list[TransformersPredictions]:
        """As ``Predictor.in_turn``."""
        with at_rest(self.model):
            return [self._alone(ids) for ids in sequences]

    def in_calls(self, ids: Tensor, calls: Sequence[tuple[int, int]]) -> TransformersPredictions:
        """As ``Predictor.in_calls``."""
        states, cache = [], None
        with at_rest(self.model):
            for start, stop in calls:
                given = cache_argument(decoder_of(self.model), cache)
                out = self._run(ids[None, start:stop], use_cache=True, **given)
                cache = cache_in(out)
                states.append(out.last_hidden_state[0])
        return self._predictions(torch.cat(states))

    def in_batch(self, *sequences: Tensor) -> Mapping[str, list[TransformersPredictions]]:
        """Padded on the left, without ``position_ids``, and with them if the batch is short."""
        longest = max(map(len, sequences))
        ids = torch.stack([_padded(each, longest) for each in sequences])
        mask = torch.stack([_padded(torch.ones_like(each), longest) for each in sequences])
        found = {"without position_ids": self._batch(ids, mask)}
        if longest <= PLACED_TOKENS:
            places = (mask.cumsum(dim=-1) - 1).clamp(min=0).to(self.device)
            found["with position_ids"] = self._batch(ids, mask, position_ids=places)
        return found

    def one_rounding_away(self, ids: Tensor) -> TransformersPredictions:
        """As ``LocalPredictor.one_rounding_away``."""
        with at_rest(self.model), rounded_embeddings(self.model):
            return self._alone(ids)

    def _alone(self, ids: Tensor) -> TransformersPredictions:
        return self._predictions(self._run(ids[None], use_cache=False).last_hidden_state[0])

    def _batch(self, ids: Tensor, mask: Tensor, **inputs: Tensor) -> list[TransformersPredictions]:
        with at_rest(self.model):
            out = self._run(ids, attention_mask=mask.to(self.device), use_cache=False, **inputs)
        lengths = mask.sum(dim=-1).tolist()
        return [
            self._predictions(states[len(states) - length :])
            for states, length in zip(out.last_hidden_state, lengths, strict=True)
        ]

    def _run(self, ids: Tensor, **inputs: Any) -> Any:
        return decoder_of(self.model)(ids.to(self.device), **inputs)

    def _predictions(self, states: Tensor) -> TransformersPredictions:
        return TransformersPredictions(self.model, states)


def _padded(row: Tensor, length: int) -> Tensor:
    return torch.cat([row.new_zeros(length - len(row)), row])


def _embeddings(model: Any) -> Any:
    return model.get_input_embeddings()
