"""An installation is proven: the model's own encoding, put in our way, gives its own output."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.choice import Wanted
from ropewalk.integrations.modes import rounded_embeddings
from ropewalk.integrations.probe import answer, probe_ids, probe_positions

ROUGH = 5e-2
"""Relative, of 16-bit models."""
WIDE = (torch.float32, torch.float64)


def prove(
    model: nn.Module, family: str, own: Wanted, put: Callable[[], AbstractContextManager[Any]]
) -> None:
    """Compare a model's output with that under a copy of its own encodings.

    own  the model's encodings
    put  puts them in for a block

    Raises RopewalkError, by the family's name, where they differ.
    """
    ids = probe_ids(model)
    trained_length = max(each.geometry.trained_length for each in own.values())
    places = list(probe_positions(model, trained_length))
    stock = [answer(model, ids, positions) for positions in places]
    with put():
        ours = [answer(model, ids, positions) for positions in places]
    rederived = any(each.length_dependent for each in own.values())
    for positions, theirs, our in zip(places, stock, ours, strict=True):
        farthest = 0 if positions is None else int(positions.max())
        room = (2.0**-20 * farthest if rederived else 0.0) + _room(theirs)
        difference = _relative(our, theirs)
        if not difference <= room:
            room = max(room, _own_noise(model, ids, stock[0]))
        if not difference <= room:
            where = f" at position {farthest}" if farthest else ""
            raise RopewalkError(
                f"{family} is not supported: its own encoding, as read from its config, changes "
                f"its output{where} by {difference:.1e} of the largest (at most {room:.0e} "
                "expected)"
            )


def _room(stock: Tensor) -> float:
    """Relative, for float32 angles whose frequencies are a copy of the library's."""
    return 1e-4 if stock.dtype in WIDE else ROUGH


def _relative(ours: Tensor, stock: Tensor) -> float:
    """The largest difference, over the largest output; of 16-bit models that of three tokens in
    four: rounding gives a token or two to another expert, a wrong encoding moves them all."""
    scale = stock.abs().max().clamp(min=1e-30)
    each = (ours.double() - stock.double()).abs().amax(dim=-1).flatten() / scale
    return float(each.max() if stock.dtype in WIDE else each.quantile(0.75))


def _own_noise(model: nn.Module, ids: Tensor, stock: Tensor) -> float:
    """What one rounding of the embeddings makes of the output, some times over: weights or
    activations of a few bits fall on either side of a step."""
    with rounded_embeddings(model):
        away = answer(model, ids)
    return min(ROUGH, 4 * _relative(away, stock))
