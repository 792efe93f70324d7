"""Put an encoding into a transformers model, once its layout is measured and proven."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.extension import EXTENSION, Extension, Seam
from ropewalk.integrations.layout import LayerLayout, ModelLayout, Native, measure_layout
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.probe import answer, probe_ids, probe_positions

Encode = Callable[[str | None], Encoding | None]
"""Layer type -> the encoding wanted for layers of that type; None for ``native``."""


def install(model: nn.Module, encode: Encode, native: Native) -> Extension:
    """Measure the layout, prove ``native`` against the model's own output, put the encoding in.

    Layers whose sliding window is no longer than the trained length keep their own encoding:
    no distance in them is new.

    Raises RopewalkError for a model that is extended already, a family whose layout is
    unknown or whose proof fails, a model in which no layer would change, and a map of
    several regions on a bidirectional model.
    """
    if getattr(model, EXTENSION, None) is not None:
        raise RopewalkError("the model is extended already: call .remove() on its extension first")
    with at_rest(model):
        layout = measure_layout(model, native)
        own = {layer.name: layer.native for layer in layout.layers if layer.native is not None}
        asked = {each.name: encode(each.layer_type) for each in layout.layers if each.native}
        wanted = {
            layer.name: _wanted(layer, asked[layer.name])
            for layer in layout.layers
            if layer.native is not None
        }
        if any(encoding is not None for encoding in asked.values()):
            _require_a_change(layout, wanted)
        _require_causal_regions(layout, wanted)
        _prove(model, layout, own, Seam.of(wanted))
    return Extension(model, layout, wanted, Seam.of(wanted))


def _wanted(layer: LayerLayout, encoding: Encoding | None) -> Encoding:
    """The encoding of a layer that has positions, in the layer's own pairing."""
    assert layer.native is not None
    if encoding is None:
        return layer.native
    if layer.window is not None and layer.window <= encoding.geometry.trained_length:
        return layer.native
    return encoding.paired(layer.native.geometry.pairing)


def _require_a_change(layout: ModelLayout, wanted: dict[str, Encoding]) -> None:
    """Raise if every layer keeps its own encoding because it slides within what it knows."""
    turning = [layer for layer in layout.layers if layer.native is not None]
    if all(wanted[layer.name] is layer.native for layer in turning):
        widest = max(layer.window or 0 for layer in turning)
        raise RopewalkError(
            f"{layout.family}: every layer attends within a sliding window of at most {widest} "
            "tokens, no longer than the trained length, so no method would change anything; "
            "use native"
        )


def _require_causal_regions(layout: ModelLayout, wanted: dict[str, Encoding]) -> None:
    """Raise for regions, which cover the causal triangle alone, where rows see ahead."""
    several = max(len(encoding.position_map.regions) for encoding in wanted.values())
    if layout.horizon is Horizon.BOTH_WAYS and several > 1:
        raise RopewalkError(
            f"{layout.family} is bidirectional, and a map of {several} regions says nothing of "
            "keys that come after their query: expected a causal model, or a method of one region"
        )


def _prove(model: nn.Module, layout: ModelLayout, own: dict[str, Encoding], seam: Seam) -> None:
    """Output under our copy of the model's own encoding must equal the model's own."""
    ids = probe_ids(model)
    trained_length = max(each.geometry.trained_length for each in own.values())
    places = list(probe_positions(model, trained_length))
    stock = [answer(model, ids, positions) for positions in places]
    with Extension(model, layout, own, seam):
        ours = [answer(model, ids, positions) for positions in places]
    rederived = any(each.length_dependent for each in own.values())
    for positions, theirs, our in zip(places, stock, ours, strict=True):
        farthest = 0 if positions is None else int(positions.max())
        rounding = 2.0**-20 * farthest if rederived else 0.0
        _compare(layout.family, theirs, our, farthest, rounding)


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
