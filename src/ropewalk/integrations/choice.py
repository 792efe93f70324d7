"""Which encoding each layer of a model gets."""

from dataclasses import replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import only_scales
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.layout import LayerLayout, ModelLayout
from ropewalk.methods.by_layer import Encode

Wanted = dict[str, Encoding]
"""Encoding of each layer that has positions, and of those without that see all tokens and whose
logits a method scales, by module name."""


def native_of(layout: ModelLayout) -> Wanted:
    """The model's own."""
    return {layer.name: layer.native for layer in layout.layers if layer.native is not None}


def of_positioned(layout: ModelLayout, wanted: Wanted) -> Wanted:
    """Without the layers that have no positions, to which only scales of a row come."""
    return {name: wanted[name] for name in native_of(layout)}


def wanted_in(layout: ModelLayout, encode: Encode) -> Wanted:
    """What ``encode`` asks for, layer by layer.

    Layers whose sliding window is no longer than the trained length keep their own encoding:
    no distance in them is new. Layers that rotate nothing and see all tokens take the method's
    scales of a row (log_n, temperature), which need no position.

    Raises RopewalkError for a model in which no layer would change, and a map of several regions
    on a bidirectional model.
    """
    # Layers of one type ask for one encoding, worked out once.
    types = {layer.layer_type for layer in layout.layers if layer.native is not None}
    asked = {layer_type: encode(layer_type) for layer_type in types}
    wanted = {
        layer.name: _wanted(layer, layer.native, asked[layer.layer_type])
        for layer in layout.layers
        if layer.native is not None
    }
    wanted |= _scaled(layout, encode)
    if any(encoding is not None for encoding in asked.values()):
        _require_a_change(layout, wanted)
    _require_causal_regions(layout, wanted)
    return wanted


def _wanted(layer: LayerLayout, native: Encoding, encoding: Encoding | None) -> Encoding:
    """The encoding of a layer that has positions, in the layer's own pairing."""
    if encoding is None:
        return native
    if layer.window is not None and layer.window <= encoding.geometry.trained_length:
        return native
    return encoding.paired(native.geometry.pairing)


def _scaled(layout: ModelLayout, encode: Encode) -> Wanted:
    """The method's scales alone, for layers without positions that see all tokens."""
    names = [each.name for each in layout.layers if each.native is None and each.window is None]
    asked = encode(None) if names else None
    scales = tuple(mod for mod in asked.score_mods if only_scales(mod)) if asked else ()
    if asked is None or not scales:
        return {}
    return dict.fromkeys(names, replace(asked.unrotated(), score_mods=scales))


def _require_a_change(layout: ModelLayout, wanted: Wanted) -> None:
    """Raise if every layer keeps its own encoding because it slides within what it knows."""
    rotating = [layer for layer in layout.layers if layer.native is not None]
    kept = all(wanted[layer.name] is layer.native for layer in rotating)
    if kept and len(wanted) == len(rotating):
        widest = max(layer.window or 0 for layer in rotating)
        raise RopewalkError(
            f"{layout.family}: every layer with positions attends within a window or a chunk of at "
            f"most {widest} tokens, no longer than the trained length, so no method would change "
            "anything; use native"
        )


def _require_causal_regions(layout: ModelLayout, wanted: Wanted) -> None:
    """Raise for regions, which cover the causal triangle alone, where rows see ahead."""
    several = max(len(encoding.position_map.regions) for encoding in wanted.values())
    if layout.horizon is Horizon.BOTH_WAYS and several > 1:
        raise RopewalkError(
            f"{layout.family} is bidirectional, and a map of {several} regions says nothing of "
            "keys that come after their query: expected a causal model, or a method of one region"
        )
