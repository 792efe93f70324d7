"""A transformers model as the ``LanguageModel`` that measuring asks for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from ropewalk.core.errors import RopewalkError
from ropewalk.core.loss import token_losses
from ropewalk.core.passes import Pass
from ropewalk.integrations.modes import evaluating

Advance = Callable[[int], None]
"""Told the number of tokens that were just fed."""


class TransformersScorer:
    """Scores with a causal model as it stands, extended or not, without dropout."""

    def __init__(self, model: nn.Module, advance: Advance = lambda tokens: None) -> None:
        self.model, self.advance = model, advance

    @torch.no_grad()
    def token_losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        """As ``LanguageModel.token_losses``: float64 ``[n - first]``, nats."""
        device = next(self.model.parameters()).device
        ids = ids.to(device)
        with evaluating(self.model):
            hidden = self._hidden_states(ids, split)[first - 1 : len(ids) - 1]
            with family_head(self.model) as head:
                losses = token_losses(hidden, ids[first:], head)
        return losses.cpu()

    def _hidden_states(self, ids: Tensor, split: Pass) -> Tensor:
        """Last hidden states ``[n, width]`` of one sequence, fed as ``split`` says."""
        decoder = decoder_of(self.model)
        calls = list(split.calls(len(ids)))
        states, cache = [], None
        for start, stop in calls:
            out = decoder(ids[None, start:stop], past_key_values=cache, use_cache=len(calls) > 1)
            cache = out.past_key_values
            states.append(out.last_hidden_state[0])
            self.advance(stop - start)
        return torch.cat(states)


class _Replay(nn.Module):
    """Stands for the decoder and answers with hidden states that are known already."""

    def __init__(self) -> None:
        super().__init__()
        self.states = torch.empty(0)

    def forward(self, *args: object, **kwargs: object) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=self.states)


@contextmanager
def family_head(model: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """The family's own way from hidden states ``[rows, width]`` to logits.

    Families scale or cap their logits after the output layer, so the model's own forward
    runs, over a decoder that replays a chunk of hidden states.
    """
    decoder, replay = decoder_of(model), _Replay()
    name = model.base_model_prefix
    setattr(model, name, replay)

    def head(rows: Tensor) -> Tensor:
        replay.states = rows[None]
        logits: Tensor = model(rows.new_zeros(1, len(rows), dtype=torch.long)).logits[0]
        return logits

    try:
        yield head
    finally:
        setattr(model, name, decoder)


def decoder_of(model: nn.Module) -> nn.Module:
    decoder = getattr(model, getattr(model, "base_model_prefix", ""), None)
    if not isinstance(decoder, nn.Module) or decoder is model:
        raise RopewalkError(
            f"{type(model).__name__} has no output layer: expected a causal language model "
            "(transformers' AutoModelForCausalLM)"
        )
    return decoder
