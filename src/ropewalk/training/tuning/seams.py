"""Proof, on the model itself, of who sees whom where positions do not rise by one.

At such a place one document ends and another begins (``full``), or positions skip within one
(``pose``, ``cream``). The library and its attention back ends tell the two apart by rules that
changed from release to release, and a wrong mask trains something else without a word. So the
token before the place is changed, and the logits after it must move or must not.
"""

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.placement import input_device
from ropewalk.training.tuning.positions import FullLength
from ropewalk.training.tuning.windows import Batch, TextWindows

WINDOWS_LOOKED_AT = 64


def prove_seams(model: nn.Module, windows: TextWindows) -> None:
    """Raise RopewalkError where a document sees another, or not its own beginning."""
    found = _first_seam(windows)
    if found is None:
        return
    batch, place = found
    device = input_device(model)
    plain = _row(model, batch, place + 1, device)
    ids = batch["input_ids"].clone()
    ids[:, place] = (ids[:, place] + 1) % int(ids.max() + 1)
    moved = _row(model, {**batch, "input_ids": ids}, place + 1, device)
    apart = isinstance(windows.sampler, FullLength)
    if torch.equal(plain, moved) is not apart:
        wrong = "sees the document before its own" if apart else "does not see what it follows"
        attention = getattr(getattr(model, "config", None), "_attn_implementation", "unknown")
        raise RopewalkError(
            f"under the attention {attention} a token after a seam of positions {wrong}: this "
            "would train something else; load the model with attn_implementation='sdpa'"
        )


def _first_seam(windows: TextWindows) -> tuple[Batch, int] | None:
    """A window whose positions do not all rise by one, and the index before the place."""
    for number in range(min(len(windows), WINDOWS_LOOKED_AT)):
        jumps = (windows[number]["position_ids"].diff() != 1).nonzero()
        if len(jumps):
            return windows.batch([windows[number]]), int(jumps[0])
    return None


@torch.no_grad()
def _row(model: nn.Module, batch: Batch, row: int, device: torch.device) -> Tensor:
    training = model.training
    model.eval()
    try:
        inputs = {key: value.to(device) for key, value in batch.items() if key != "labels"}
        logits: Tensor = model(**inputs, use_cache=False).logits
        return logits[0, row]
    finally:
        model.train(training)
