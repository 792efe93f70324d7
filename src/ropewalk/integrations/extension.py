"""An encoding in force in a transformers model, until it is taken out again."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

from torch import nn

from ropewalk.core.encoding import KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.attending import (
    GuardedAttention,
    RotateNothing,
    attention_of,
    rotates_at_birth,
)
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.choice import Wanted, native_of, of_positioned, wanted_in
from ropewalk.integrations.entrance import Entrance, PositionsEntrance, rotary_entrance
from ropewalk.integrations.feeding import WHOLE, Feeding
from ropewalk.integrations.guards import Guards
from ropewalk.integrations.installed import InstalledRotary, Parts
from ropewalk.integrations.layer_attention import LayerAttention
from ropewalk.integrations.layout import LayerLayout, ModelLayout, RotaryLayout
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.own_config import OwnConfig
from ropewalk.integrations.precision import exact
from ropewalk.integrations.proof import prove
from ropewalk.integrations.removable import Removable
from ropewalk.integrations.rotary import (
    ArrivingRotary,
    EncodedRotary,
    UnrotatedRotary,
    as_arrived,
    as_handed,
)
from ropewalk.integrations.routing import AttentionEntrance, Route
from ropewalk.integrations.seam import Seam
from ropewalk.methods.by_layer import Encode
from ropewalk.methods.stated_length import StatedLength

EXTENSION = "ropewalk_extension"


Enter = Callable[[nn.Module], Entrance | PositionsEntrance]
"""Hooks a decoder."""


class Extension(Removable):
    """An encoding in force in a model. A context manager; ``remove`` restores the model.

    Made by ``extend``. Everything it changed is an attribute of this model's own modules; a copy
    of the model has an extension of its own.
    """

    wanted: Wanted
    seam: Seam
    length: StatedLength

    def __init__(
        self,
        model: nn.Module,
        layout: ModelLayout,
        encode: Encode,
        length: StatedLength,
        feeding: Feeding = WHOLE,
    ) -> None:
        """feeding  how much of each pass is fed in this process

        Raises RopewalkError for what ``wanted_in`` and the proof of its seam refuse.
        """
        self.model, self.layout, self.length = model, layout, length
        self._feeding = feeding
        self.stock_config = model.config
        self._parts = Parts()
        self._proven: set[Seam] = set()
        self.swap(encode, length)

    def swap(self, encode: Encode, length: StatedLength) -> None:
        """Put other encodings in the place of those in force.

        The layout stays, and what is proven is not proven again: each seam is, once.

        Raises RopewalkError as at installation; the encodings in force stay then.
        """
        wanted = wanted_in(self.layout, encode)
        seam, before, stated = Seam.of(wanted), self._parts, self.length
        self.length = length
        self.remove()
        try:
            self._prove(seam)
            self._put(wanted, seam)
        except BaseException:
            self.length = stated
            if before.installed:
                self._put(self.wanted, self.seam)
            raise
        self.wanted, self.seam = wanted, seam

    def _prove(self, seam: Seam) -> None:
        if seam in self._proven:
            return
        own = native_of(self.layout)
        with at_rest(self.model):
            family = self.layout.family
            prove(self.model, family, own, lambda: self._holding(own, seam, WHOLE))
            self._feeding.prove(self.model, family, partial(self._holding, own, seam))
        self._proven.add(seam)

    @contextmanager
    def _holding(self, wanted: Wanted, seam: Seam, feeding: Feeding) -> Iterator[None]:
        """Encodings in force for the length of a block, under a feeding."""
        before, self._feeding = self._feeding, feeding
        try:
            self._put(wanted, seam)
            yield
        finally:
            self._feeding = before
            self.remove()

    @contextmanager
    def fed(self, feeding: Feeding) -> Iterator[None]:
        """The same encodings for the length of a block, under another feeding."""
        before, seam = self._feeding, self.seam
        self.remove()
        self._feeding = feeding
        try:
            self._put(self.wanted, seam)
            yield
        finally:
            self.remove()
            self._feeding = before
            self._put(self.wanted, seam)

    def _put(self, wanted: Wanted, seam: Seam) -> None:
        setattr(self.model, EXTENSION, self)
        try:
            self._install(wanted, seam)
        except BaseException:
            self.remove()
            raise

    def _install(self, wanted: Wanted, seam: Seam) -> None:
        self._parts.guards = guards = Guards(self.model)
        self._parts.config = OwnConfig(self.model, self.length.state_in)
        if seam is Seam.ROTARY and not self._feeding.asks_attention:
            self._install_rotaries(wanted, rotary_entrance)
            return
        if seam is Seam.ROTARY:
            self._install_rotaries(wanted, AttentionEntrance)
        elif any(rotates_at_birth(encoding) for encoding in wanted.values()):
            positioned = of_positioned(self.layout, wanted)
            self._require_one_encoding(positioned)
            self._install_rotaries(positioned, AttentionEntrance)
        else:
            self._require_no_other_reader()
            for rotary in self.layout.rotaries:
                config = getattr(rotary.decoder, "config", None)
                self._replace(rotary, UnrotatedRotary(rotary.table, _stock(rotary), config))
            self._enter_by(AttentionEntrance)
        guards.refuse_batching(self.model)
        seams = tuple(self._parts.rotaries)
        attentions = {
            layer.name: self._feeding.attending(
                _attention(layer, wanted, seam, seams), _number(layer)
            )
            for layer in self.layout.layers
        }
        self._parts.route = Route(self.model, attentions)

    def _require_one_encoding(self, wanted: Wanted) -> None:
        """Raise where keys settle at birth, so rotated by a module that serves all layers."""
        if not all(each == next(iter(wanted.values())) for each in wanted.values()):
            raise RopewalkError(
                f"policy=at_birth on {self.layout.family}, whose layers need different encodings: "
                "expected one encoding for all layers; use policy=per_query"
            )

    def _require_no_other_reader(self) -> None:
        """Raise where a module besides attention would be shown cos = 1 and sin = 0."""
        if self.layout.other_readers:
            raise RopewalkError(
                f"{self.layout.family}: {self.layout.other_readers[0]} reads positions from the "
                "rotary module beside the attention layers, and this method has more than one "
                "rotation: expected a method of one base, such as yarn"
            )

    def _install_rotaries(self, wanted: Wanted, entrance: Enter) -> None:
        """The one encoding of all layers, in place of each rotary module."""
        encoding = next(iter(wanted.values()))
        for rotary in self.layout.rotaries:
            handed = "position_ids" in signature(rotary.decoder.forward).parameters
            alone = handed and entrance is rotary_entrance
            made, shown = (EncodedRotary, as_handed) if alone else (ArrivingRotary, as_arrived)
            self._replace(rotary, made(encoding, rotary.table, shown, _stock(rotary)))
        self._enter_by(entrance)

    def _enter_by(self, entrance: Enter) -> None:
        decoders = {id(rotary.decoder): rotary.decoder for rotary in self.layout.rotaries}
        enter = self._attention_entrance if entrance is AttentionEntrance else entrance
        self._parts.entrances += [enter(decoder) for decoder in decoders.values()]

    def _attention_entrance(self, decoder: nn.Module) -> AttentionEntrance:
        return AttentionEntrance(decoder, self._feeding)

    def _replace(self, rotary: RotaryLayout, ours: EncodedRotary | UnrotatedRotary) -> None:
        for name, value in vars(ours.stock).items():
            # Some families ask their rotary module for its config or its layer types.
            if not (name.startswith("_") or hasattr(ours, name)):
                setattr(ours, name, value)
        setattr(rotary.parent, rotary.attribute, ours.train(ours.stock.training))
        installed = InstalledRotary(parent=rotary.parent, attribute=rotary.attribute, ours=ours)
        self._parts.rotaries.append(installed)

    @property
    def both_ways(self) -> bool:
        """Whether rows see what comes after them."""
        return self.layout.horizon is Horizon.BOTH_WAYS

    def remove(self) -> None:
        """Restore the model, bit for bit, but for what its user changed. Safe to call twice."""
        self._parts.undo()
        self._parts = Parts()
        if getattr(self.model, EXTENSION, None) is self:
            delattr(self.model, EXTENSION)

    def __repr__(self) -> str:
        told = self.describe()
        changed = f"{told['layers_changed']} of {told['layers']} layers changed"
        return f"Extension({told['family']}: {changed}, fingerprint {told['fingerprint']})"

    def describe(self) -> dict[str, Any]:
        """Which layers changed, the layout found, and a fingerprint of the encoding in force."""
        layers, own = self.layout.layers, native_of(self.layout)
        changed = [
            name
            for name, encoding in self.wanted.items()
            if own.get(name) is None or exact(encoding) != exact(own[name])
        ]
        first = next(layer for layer in layers if layer.native is not None)
        assert first.native is not None
        storages = {each.key_storage for each in self.wanted.values()}
        return {
            "family": self.layout.family,
            "layers": len(layers),
            "layers_changed": len(changed),
            "layers_without_positions": sum(layer.native is None for layer in layers),
            "pairing": first.native.geometry.pairing,
            "first_channel": first.heads.first_channel,
            "key_storage": (
                KeyStorage.UNROTATED if KeyStorage.UNROTATED in storages else KeyStorage.ROTATED
            ).value,
            "seam": self.seam.value,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Sixteen hex digits over the encoding in force in each layer.

        Over everything that it is made of, and its frequencies at 1 to 8 times the trained
        length as numbers.
        """
        digest = hashlib.sha256()
        for name, encoding in self.wanted.items():
            digest.update(f"{name} {encoding!r}".encode())
            for times in (1, 2, 4, 8):
                length = times * encoding.geometry.trained_length
                if encoding.frequencies is not None:
                    digest.update(encoding.frequencies.inv_freq(length).numpy().tobytes())
        return digest.hexdigest()[:16]


def _attention(
    layer: LayerLayout, wanted: Wanted, seam: Seam, seams: tuple[InstalledRotary, ...]
) -> LayerAttention:
    encoding = wanted.get(layer.name)
    if encoding is None or seam is Seam.ROTARY:  # its rotary module, if any, turns it
        bare = replace(next(iter(wanted.values())).unrotated(), score_mods=())
        attention: LayerAttention = RotateNothing(encoding=bare)
    elif layer.native is None:
        attention = RotateNothing(encoding=encoding)
    else:
        attention = attention_of(encoding, layer.heads, _number(layer))
    return GuardedAttention(attention=attention, seams=seams)


def _number(layer: LayerLayout) -> int | None:
    """Of the cache's layer that holds its keys."""
    return getattr(layer.module, "layer_idx", None)


def _stock(rotary: RotaryLayout) -> nn.Module:
    stock = getattr(rotary.parent, rotary.attribute)
    assert isinstance(stock, nn.Module)
    return stock
