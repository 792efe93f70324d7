"""Put an encoding into a transformers model, prove that it is in force, take it out again."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.layout import (
    LayerLayout,
    ModelLayout,
    Native,
    measure_layout,
    probe_ids,
)
from ropewalk.integrations.modes import evaluating
from ropewalk.integrations.plan import LayerPlan, TurnAtBirth, TurnAtRead, TurnNothing, plan_of
from ropewalk.integrations.precision import exact
from ropewalk.integrations.rotary import EncodedRotary, UnturnedRotary
from ropewalk.integrations.routing import Route

Encode = Callable[[str | None], Encoding | None]
"""Layer type -> the encoding wanted for layers of that type; None for ``native``."""

EXTENSION = "ropewalk_extension"


class Seam(Enum):
    """Where an encoding enters the model. Derived from the encodings of its layers."""

    ROTARY = "the rotary module alone; the library's attention and cache stay as they are"
    ATTENTION = "an attention function, under a cache of un-rotated keys"

    @classmethod
    def of(cls, wanted: dict[str, Encoding]) -> "Seam":
        encodings = list(wanted.values())
        one = all(each == encodings[0] for each in encodings) and encodings[0].rotation_only
        return cls.ROTARY if one else cls.ATTENTION


class Extension:
    """An encoding in force in a model. A context manager; ``remove`` restores the model.

    Made by ``extend``. Everything it changed is an attribute of this model's own modules.
    """

    def __init__(
        self, model: nn.Module, layout: ModelLayout, wanted: dict[str, Encoding], seam: Seam
    ) -> None:
        """``wanted``: encoding of each layer that has positions, by module name."""
        self.model, self.layout, self.wanted, self.seam = model, layout, wanted, seam
        self._undo: list[Callable[[], None]] = []
        setattr(model, EXTENSION, self)
        try:
            self._install()
        except BaseException:
            self.remove()
            raise

    def _install(self) -> None:
        self._refuse_saving()
        if self.seam is Seam.ROTARY:
            self._install_rotaries()
            return
        plans = {layer.name: self._plan(layer) for layer in self.layout.layers}
        if not any(isinstance(plan, TurnAtBirth) for plan in plans.values()):
            for rotary in self.layout.rotaries:
                self._set(rotary.parent, rotary.attribute, UnturnedRotary(rotary.table))
        elif any(isinstance(plan, TurnAtRead) for plan in plans.values()):
            raise RopewalkError(
                f"policy=at_birth on {self.layout.family}, whose layers need different encodings: "
                "expected one encoding for all layers; use policy=per_query"
            )
        else:
            self._install_rotaries()
        self._undo.append(Route(self.model, plans).undo)

    def _plan(self, layer: LayerLayout) -> LayerPlan:
        encoding = self.wanted.get(layer.name)
        if encoding is None:
            return TurnNothing(encoding=next(iter(self.wanted.values())))
        return plan_of(encoding, layer.heads)

    def _install_rotaries(self) -> None:
        """The one encoding of all layers, in place of each rotary module."""
        encoding = next(iter(self.wanted.values()))
        for rotary in self.layout.rotaries:
            ours = EncodedRotary(encoding, rotary.table)
            handle = rotary.parent.register_forward_pre_hook(ours.see_call, with_kwargs=True)
            self._undo.append(handle.remove)
            self._set(rotary.parent, rotary.attribute, ours)

    def _set(self, parent: nn.Module, attribute: str, module: nn.Module) -> None:
        stock = getattr(parent, attribute)
        setattr(parent, attribute, module)
        self._undo.append(lambda: setattr(parent, attribute, stock))

    def _refuse_saving(self) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise RopewalkError(
                "an extended model is not saved: its weights are the checkpoint's own and its "
                "encoding is not in them; call extension.remove() first"
            )

        self.model.save_pretrained = refuse
        self._undo.append(lambda: delattr(self.model, "save_pretrained"))

    def remove(self) -> None:
        """Restore the model, bit for bit. Safe to call twice."""
        while self._undo:
            self._undo.pop()()
        if getattr(self.model, EXTENSION, None) is self:
            delattr(self.model, EXTENSION)

    def __enter__(self) -> "Extension":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def describe(self) -> dict[str, Any]:
        """Which layers changed, the layout found, and a fingerprint of the encoding in force."""
        layers = self.layout.layers
        changed = [
            layer
            for layer in layers
            if layer.native is not None and exact(self.wanted[layer.name]) != exact(layer.native)
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
                digest.update(encoding.frequencies.inv_freq(length).numpy().tobytes())
        return digest.hexdigest()[:16]


def install(model: nn.Module, encode: Encode, native: Native) -> Extension:
    """Measure the layout, prove ``native`` against the model's own logits, put the encoding in.

    Layers whose sliding window is no longer than the trained length keep their own encoding:
    no distance in them is new.

    Raises RopewalkError for a model that is extended already, a family whose layout is
    unknown or whose proof fails, and a model in which no layer would change.
    """
    if getattr(model, EXTENSION, None) is not None:
        raise RopewalkError("the model is extended already: call .remove() on its extension first")
    with evaluating(model):
        layout = measure_layout(model, native)
        own = {layer.name: layer.native for layer in layout.layers if layer.native is not None}
        wanted = {
            layer.name: _wanted(layer, encode(layer.layer_type))
            for layer in layout.layers
            if layer.native is not None
        }
        if encode(None) is not None:
            _require_a_change(layout, wanted)
        _prove(model, layout, own, wanted)
    return Extension(model, layout, wanted, Seam.of(wanted))


def _wanted(layer: LayerLayout, encoding: Encoding | None) -> Encoding:
    """The encoding of a layer that has positions, in the layer's own pairing."""
    assert layer.native is not None
    if encoding is None:
        return layer.native
    if layer.window is not None and layer.window <= encoding.geometry.trained_length:
        return layer.native
    pairing = layer.native.geometry.pairing
    return replace(encoding, geometry=replace(encoding.geometry, pairing=pairing))


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


@torch.no_grad()
def _prove(
    model: nn.Module, layout: ModelLayout, own: dict[str, Encoding], wanted: dict[str, Encoding]
) -> None:
    """Logits under our copy of the model's own encoding must equal the model's own."""
    ids = probe_ids(model)
    stock = model(ids, use_cache=False).logits
    with Extension(model, layout, own, Seam.of(wanted)):
        ours = model(ids, use_cache=False).logits
    _compare(layout.family, stock, ours)


def _compare(family: str, stock: Tensor, ours: Tensor) -> None:
    scale = stock.abs().max().clamp(min=1e-30)
    difference = float((ours.double() - stock.double()).abs().max() / scale)
    room = 1e-4 if stock.dtype in (torch.float32, torch.float64) else 5e-2
    if not difference <= room:
        raise RopewalkError(
            f"{family} is not supported: its own encoding, as read from its config, changes its "
            f"logits by {difference:.1e} of the largest (at most {room:.0e} expected)"
        )
