"""A family's own way from ids to hidden states, and from hidden states to logits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions


class _Replayed(BaseModelOutputWithPastAndCrossAttentions):
    """Hidden states, and nothing of what else a family's decoder may answer with: heads of mixtures
    of experts hand their router's logits on."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


class _Replay(nn.Module):
    """Stands for the decoder and answers with hidden states that are known already."""

    def __init__(self) -> None:
        super().__init__()
        self.states = torch.empty(0)

    @property
    def decoder(self) -> "_Replay":
        """Itself: OPT's head asks the decoder in its model."""
        return self

    def forward(self, *args: object, **kwargs: object) -> "_Replayed":
        return _Replayed(last_hidden_state=self.states)


@contextmanager
def family_head(model: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """The family's own way from hidden states ``[rows, width]`` to logits.

    Families scale or cap their logits after the output layer, so the model's own forward
    runs, over a decoder that replays a chunk of hidden states. Without an output layer the
    states are handed back.
    """
    decoder, replay = decoder_of(model), _Replay()
    if decoder is model:
        yield lambda rows: rows
        return
    name = str(model.base_model_prefix)
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
    """What makes hidden states: the model under its output layer, or itself without one."""
    decoder = getattr(model, getattr(model, "base_model_prefix", ""), None)
    return decoder if isinstance(decoder, nn.Module) else model
