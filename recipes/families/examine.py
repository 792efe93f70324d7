"""Put one model to the proof: what `extend` finds in it, and whether it then gives one result.

Full pass = calls of uneven sizes = token by token = left-padded beside a longer sequence, under
a static method, one that depends on the length, and one that maps positions.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, left_padded, logits, token_ids
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.extension import Extension
from ropewalk.integrations.layout import ModelLayout

LENGTH, SHORT = 80, 57
SIZES = (7, 33, 1, 32, 7)
METHODS = {
    "native": "native",
    "static": "yarn:factor=2.5",
    "length": "dynamic_ntk:step=8",
    "map": "rerope:window=12",
}
"""What a method stands for -> the method. 12 is below the windows of sliding layers."""
ROUNDING = 1e-6
"""Of float32 in a router or a norm, which some families keep in a float64 model."""
ROOM = 20
"""A method may differ by this many times what the family itself does."""
SHOWS = 1e-3
"""By how much a shift of half the positions by one must move an output."""
NATIVE_ROOM = 1e-4
"""Of the largest output: our angles against the library's float32 ones."""

Gaps = dict[str, float]


def examine(model: nn.Module) -> dict[str, Any]:
    """The record of a sharpened float64 model: layout, gaps in logits, result, reason."""
    try:
        with rw.extend(model, "native") as extension:
            layout = extension.layout
            record = described(extension)
            ours = logits(model, token_ids(1, LENGTH), use_cache=False)
    except rw.RopewalkError as error:
        return {"result": "refused", "reason": str(error)}
    stock = logits(model, token_ids(1, LENGTH), use_cache=False)
    own = gaps(model, layout)
    record["native_minus_stock"] = largest(ours - stock)
    record["shift"] = shift(model)
    record["stock"] = own
    record["methods"] = {name: under(model, spec) for name, spec in METHODS.items()}
    if reasons := list(failures(record, largest(stock))):
        return {**record, "result": "failed", "reason": "; ".join(reasons)}
    doubt = doubts(record)
    return {**record, "result": "unproven" if doubt else "passes", "reason": "; ".join(doubt)}


def under(model: nn.Module, spec: str) -> dict[str, Any]:
    """Gaps under a method, or why it is refused."""
    try:
        with rw.extend(model, spec) as extension:
            return {
                "gaps": gaps(model, extension.layout),
                "changed": int(extension.describe()["layers_changed"]),
                "seam": extension.seam.name.lower(),
            }
    except rw.RopewalkError as error:
        return {"refused": str(error)}


def failures(record: dict[str, Any], scale: float) -> Iterable[str]:
    """What is wrong, in words; nothing where all is right."""
    if not record["native_minus_stock"] <= NATIVE_ROOM * scale:
        yield f"native differs from the library by {record['native_minus_stock']:.1e}"
    for name, found in record["methods"].items():
        for way, gap in found.get("gaps", {}).items():
            own = record["stock"][way]
            room = max(ROUNDING, ROOM * own) if own < math.inf else ROUNDING
            if not gap <= room and (gap < math.inf or own < math.inf):
                yield f"{METHODS[name]}, {way}: {gap:.1e}, {room:.1e} allowed"


def doubts(record: dict[str, Any]) -> list[str]:
    """Why a comparison of this model would not show an error of its positions."""
    own = record["stock"].items()
    found = [f"{way} by {gap:.1e}" for way, gap in own if SHOWS < gap < math.inf]
    told = f"the library's own path differs from its full pass: {', '.join(found)}"
    dull = f"a shift of half the positions shows by {record['shift']:.1e} alone"
    return [*([told] if found else []), *([dull] if record["shift"] < SHOWS else [])]


def gaps(model: nn.Module, layout: ModelLayout) -> Gaps:
    """Largest difference of an output between one call alone and each other way of feeding."""
    ids = token_ids(1, LENGTH)
    full = logits(model, ids, use_cache=False)
    found = {"padded": padded_gap(model, full)}
    if layout.horizon is not Horizon.BOTH_WAYS:
        for way, sizes in (("chunked", SIZES), ("decode", (1,) * LENGTH)):
            found[way] = largest(in_calls(model, ids, sizes) - full)
    return found


def padded_gap(model: nn.Module, full: Tensor) -> float:
    """``full``: the outputs of the longer row alone."""
    ids, mate = token_ids(1, SHORT, seed=1), token_ids(1, LENGTH)
    both, mask = left_padded(ids, LENGTH, mate)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    alone = logits(model, ids, use_cache=False)
    padded = logits(model, both, attention_mask=mask, position_ids=positions, use_cache=False)
    return max(largest(padded[:1, LENGTH - SHORT :] - alone), largest(padded[1:] - full))


def shift(model: nn.Module) -> float:
    """By how much the family's own outputs move when half the positions move by one.

    With a mask, without which the library takes a jump for the start of another sequence.
    """
    ids, positions = token_ids(1, LENGTH), torch.arange(LENGTH)[None]
    shifted = {"position_ids": positions + (positions >= LENGTH // 2)}
    moved = logits(model, ids, attention_mask=torch.ones_like(ids), **shifted, use_cache=False)
    return largest(moved - logits(model, ids, use_cache=False))


def largest(difference: Tensor) -> float:
    """The largest absolute value; infinite where something is not a number."""
    return float(difference.abs().nan_to_num(nan=torch.inf).max())


def described(extension: Extension) -> dict[str, Any]:
    """The layout that was measured, as data."""
    layers = extension.layout.layers
    turning = [layer for layer in layers if layer.native is not None]
    first = turning[0]
    assert first.native is not None
    rotary = 2 * len(first.native.frequencies.inv_freq(L0))
    return {
        "bidirectional": extension.layout.horizon is Horizon.BOTH_WAYS,
        "layers": len(layers),
        "without_positions": len(layers) - len(turning),
        "sliding": sum(layer.window is not None for layer in layers),
        "pairing": first.native.geometry.pairing,
        "rotary_channels": rotary,
        "first_channel": first.heads.first_channel,
        "norm_after_rotation": first.heads.query_weight is not None,
        "other_readers": len(extension.layout.other_readers),
    }
