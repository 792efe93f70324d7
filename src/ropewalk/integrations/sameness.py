"""Whether two models predict the same: what a checkpoint was, and what was read back of it."""

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.placement import input_device
from ropewalk.integrations.probe import running

ROWS = 4
"""Of a sequence, the last among them, whose logits are compared and kept."""


def probed_rows(tokens: int) -> Tensor:
    """int64 ``[ROWS]``: the rows of a sequence whose logits are looked at."""
    return torch.arange(1, ROWS + 1) * tokens // ROWS - 1


def last_logits(model: nn.Module, ids: Tensor) -> Tensor:
    """Float32 ``[ROWS, vocabulary]`` on the CPU, of ``ids`` ``[n]``, at n / 4, n / 2, ... n.

    One pass without a cache, as plain transformers would run it.
    """
    device = input_device(model)
    rows = probed_rows(len(ids))
    with at_rest(model), running(model, f"on {len(ids)} tokens"):
        logits: Tensor = model(ids[None].to(device), use_cache=False).logits
    return logits[0, rows.to(device)].float().cpu()


def require_same(found: Tensor, expected: Tensor, what: str) -> float:
    """The largest difference; RopewalkError unless it is the rounding of float32.

    The same weights take the same path; another order of sums is allowed for, no more.
    """
    worst = float((found - expected).abs().max())
    room = 1e-5 * max(1.0, float(expected.abs().max()))
    if not worst <= room:
        raise RopewalkError(
            f"{what} read back gives other logits than what was saved (largest difference "
            f"{worst:.3g}, expected at most {room:.1g}): nothing was kept; please report this model"
        )
    return worst
