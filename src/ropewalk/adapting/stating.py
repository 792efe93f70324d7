"""A method in force in a model: by its own config where a config can say it, else by ``extend``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.portable import portable_block
from ropewalk.integrations.restating import restated
from ropewalk.integrations.session import extend_with
from ropewalk.methods.sidecar import SIDECAR, in_force, sidecar_of
from ropewalk.methods.spec import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """How a checkpoint says a method.

    spec     with every factor a number; ``native`` in it is what the checkpoint did before
    length   N, in tokens
    patch    keys of config.json; None where no config says the method, for the reason beside it
    remove   keys that they replace
    sidecar  of ropewalk.json, where no config says it
    engines  of each, why it computes something else with these keys; None where it does not
    """

    spec: Spec
    length: int
    patch: Mapping[str, Any] | None
    remove: tuple[str, ...] = ()
    sidecar: Mapping[str, Any] | None = None
    reason: str | None = None
    engines: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: ModelShape, spec: Spec, length: int, own: Spec | None) -> "Statement":
        """Of a method over a checkpoint of that shape, whose own method is ``own`` if it has a
        ropewalk.json.
        """
        whole = in_force(spec, own)
        try:
            if whole.parts != spec.parts:
                raise RopewalkError("the checkpoint's own method, which no config says, is in it")
            said = portable_block(shape, spec.text, length=length)
        except RopewalkError as error:
            return cls(
                spec=whole,
                length=length,
                patch=None,
                sidecar=sidecar_of(whole),
                reason=str(error),
            )
        return cls(
            spec=spec,
            length=length,
            patch=said["config"],
            remove=tuple(said["remove"]),
            engines=said["engines"],
        )

    @property
    def stated_by(self) -> str:
        """The file that says the method."""
        return SIDECAR if self.patch is None else CONFIG

    @contextmanager
    def in_force(self, model: "PreTrainedModel") -> "Iterator[PreTrainedModel]":
        """A model with the weights of ``model`` and the method in force: another one where the
        config says it, this one extended where it does not.
        """
        if self.patch is not None:
            yield restated(model, self.patch, self.remove)
            return
        with extend_with(model, self.spec, context_length=self.length):
            yield model
