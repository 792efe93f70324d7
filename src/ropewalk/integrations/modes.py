"""A model as a measurement needs it, for the length of a block."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.integrations.probe import answer, probe_ids
from ropewalk.integrations.rotary import EncodedRotary, UnrotatedRotary


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout; afterwards each module trains or not as before, frozen ones among them."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, as if it had run nothing before; afterwards as it was.

    The library's rotary modules of type dynamic remember the longest call. Copies stand in
    for them, and one token makes these forget (transformers 5.23 resets on a short call).
    """
    copies: dict[nn.Module, nn.Module] = {}
    places = [
        (parent, name, module)
        for parent in model.modules()
        for name, module in parent.named_children()
        if "Rotary" in type(module).__name__
        and not isinstance(module, EncodedRotary | UnrotatedRotary)
        and not isinstance(parent, EncodedRotary | UnrotatedRotary)
    ]
    for parent, name, module in places:
        if module not in copies:
            config = getattr(module, "config", None)
            copies[module] = copy.deepcopy(module, {id(config): config})
        setattr(parent, name, copies[module])
    try:
        with evaluating(model), torch.no_grad():
            if places:
                answer(model, probe_ids(model)[:, :1])
            yield
    finally:
        for parent, name, module in places:
            setattr(parent, name, module)


@contextmanager
def rounded_embeddings(model: nn.Module) -> Iterator[None]:
    """Every number of an embedding is one rounding away, up or down."""
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)

    def change(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        signs = torch.randint(0, 2, out.shape, generator=generator).to(out) * 2 - 1
        return out + out * signs * torch.finfo(out.dtype).eps

    handle = embeddings.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()
