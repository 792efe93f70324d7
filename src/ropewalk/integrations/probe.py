"""What a model is shown to be measured and proven on: a few tokens, near and far."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.placement import input_device
from ropewalk.ranks.failing import PeerLost

PROBE_TOKENS = 24
FARTHEST = 4
"""The far tokens stand at this many trained lengths."""


def family_of(model: nn.Module) -> str:
    """What refusals call a model: ``model_type`` of its config."""
    return str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))


def probe_ids(model: nn.Module) -> Tensor:
    """The same few pseudo-random ids ``[1, n]`` for every probe of a model."""
    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(embeddings.num_embeddings, (1, PROBE_TOKENS), generator=generator)
    return ids.to(input_device(model))


def probe_positions(model: nn.Module, trained_length: int) -> Iterator[Tensor | None]:
    """Where the tokens of a probe stand: from 0 on, across the trained length, far beyond it.

    None stands for the model's own 0 .. n-1, and is all for a model that takes no positions.
    A shift of all tokens changes no distance, so these short calls see what a family does at
    such positions (another table, a bound), not what its attention makes of long distances.
    """
    yield None
    if "position_ids" in inspect.signature(model.forward).parameters:
        near = torch.arange(PROBE_TOKENS, device=input_device(model))[None]
        yield near + max(trained_length - PROBE_TOKENS // 2, 0)
        yield near + FARTHEST * trained_length


def answer(model: nn.Module, ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
    """Logits ``[1, n, vocabulary]``; last hidden states where the model has no output layer.

    Raises RopewalkError, by the family's name, where its code does not run.
    """
    given = {} if position_ids is None else {"position_ids": position_ids}
    where = "" if position_ids is None else f" at position {int(position_ids.max())}"
    with running(model, f"on a few tokens{where}"):
        out = model(ids, use_cache=False, **given)
        logits: Tensor | None = getattr(out, "logits", None)
        if logits is not None:
            return logits
        states: Tensor = out.last_hidden_state
        return states


@contextmanager
def running(model: nn.Module, how: str) -> Iterator[None]:
    """What goes wrong in a family's code becomes a refusal by its name."""
    try:
        yield
    except (RopewalkError, PeerLost):
        raise
    except Exception as error:
        # Any type may come from code that expects other inputs or another attention.
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise RopewalkError(
            f"{family_of(model)} is not supported: its code does not run {how} "
            f"({type(error).__name__}: {reason.strip()})"
        ) from error


@contextmanager
def seeing_answers(model: nn.Module, see: Callable[[str, Any], Any]) -> Iterator[None]:
    """Show every rotary module's answer to ``see``, which may put another in its place."""
    handles = [
        module.register_forward_hook(lambda module, args, out, name=name: see(name, out))
        for name, module in model.named_modules()
        if "Rotary" in type(module).__name__
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
