"""An encoding in force in a transformers model, until it is taken out again."""

import hashlib
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Any

from torch import nn

from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.layout import LayerLayout, ModelLayout, RotaryLayout
from ropewalk.integrations.plan import LayerPlan, RotateAtBirth, RotateNothing, plan_of
from ropewalk.integrations.precision import exact
from ropewalk.integrations.rotary import EncodedRotary, PositionsOfCall, UnturnedRotary
from ropewalk.integrations.routing import Route

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
            self._install_rotaries(PositionsOfCall())
            return
        plans = {layer.name: self._plan(layer) for layer in self.layout.layers}
        call = PositionsOfCall()
        if any(isinstance(plan, RotateAtBirth) for plan in plans.values()):
            self._require_one_encoding()
            self._install_rotaries(call)
        else:
            self._require_no_other_reader()
            for rotary in self.layout.rotaries:
                self._replace(rotary, UnturnedRotary(rotary.table, call))
        self._undo.append(Route(self.model, plans, call).undo)

    def _require_one_encoding(self) -> None:
        """Raise where keys settle at birth, so rotated by a module that serves all layers."""
        if not all(each == next(iter(self.wanted.values())) for each in self.wanted.values()):
            raise RopewalkError(
                f"policy=at_birth on {self.layout.family}, whose layers need different encodings: "
                "expected one encoding for all layers; use policy=per_query"
            )

    def _require_no_other_reader(self) -> None:
        """Raise where a module that we do not lead would be shown cos = 1 and sin = 0."""
        if self.layout.other_readers:
            raise RopewalkError(
                f"{self.layout.family}: {self.layout.other_readers[0]} reads positions from the "
                "rotary module beside the attention layers, and this method has more than one "
                "rotation: expected a method of one base, such as yarn"
            )

    def _plan(self, layer: LayerLayout) -> LayerPlan:
        encoding = self.wanted.get(layer.name)
        if encoding is None:
            return RotateNothing(encoding=next(iter(self.wanted.values())))
        return plan_of(encoding, layer.heads)

    def _install_rotaries(self, call: PositionsOfCall) -> None:
        """The one encoding of all layers, in place of each rotary module."""
        encoding = next(iter(self.wanted.values()))
        for rotary in self.layout.rotaries:
            ours = EncodedRotary(encoding, rotary.table, call)
            handle = rotary.decoder.register_forward_pre_hook(ours.see_call, with_kwargs=True)
            self._undo.append(handle.remove)
            self._replace(rotary, ours)

    def _replace(self, rotary: RotaryLayout, ours: nn.Module) -> None:
        parent, attribute = rotary.parent, rotary.attribute
        stock = getattr(parent, attribute)
        for name, value in vars(stock).items():
            # Some families ask their rotary module for its config or its layer types.
            if not (name.startswith("_") or hasattr(ours, name)):
                setattr(ours, name, value)
        setattr(parent, attribute, ours)
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
                if encoding.frequencies is not None:
                    digest.update(encoding.frequencies.inv_freq(length).numpy().tobytes())
        return digest.hexdigest()[:16]
