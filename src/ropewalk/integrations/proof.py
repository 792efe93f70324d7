"""An installation is proven: the model's own encoding, put in our way, gives its own output."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.choice import Wanted
from ropewalk.integrations.probe import answer, probe_ids, probe_positions


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
        rounding = 2.0**-20 * farthest if rederived else 0.0
        _compare(family, theirs, our, farthest, rounding)


def _compare(family: str, stock: Tensor, ours: Tensor, farthest: int, rounding: float) -> None:
    """``rounding``: of float32 angles whose frequencies are not a copy of the library's."""
    scale = stock.abs().max().clamp(min=1e-30)
    difference = float((ours.double() - stock.double()).abs().max() / scale)
    room = (1e-4 if stock.dtype in (torch.float32, torch.float64) else 5e-2) + rounding
    if not difference <= room:
        where = f" at position {farthest}" if farthest else ""
        raise RopewalkError(
            f"{family} is not supported: its own encoding, as read from its config, changes its "
            f"output{where} by {difference:.1e} of the largest (at most {room:.0e} expected)"
        )
