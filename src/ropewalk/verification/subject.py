"""A model that predicts, the methods it can take, and the tokens that it is shown."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.methods.sidecar import in_force
from ropewalk.methods.spec import Spec, parse_spec
from ropewalk.verification.checks import (
    CHECKS,
    WITHOUT_A_CACHE,
    Checks,
    Sample,
    over_ranks,
)
from ropewalk.verification.listening import Document, Listener, NoStore, Silent, Store
from ropewalk.verification.predictor import LocalPredictor, SharedPredictor
from ropewalk.verification.run import STOCK, Candidate, Elsewhere, Verification
from ropewalk.verification.verdicts import Record, Tolerances, dtype_name

STATIC = "none"
"""The yardstick where the library's own path is none: one base, on the library's attention."""
DEFAULT_SPECS = (
    "native",
    "none",
    "linear",
    "ntk_aware",
    "dynamic_ntk",
    "dynamic_ntk:step=32",
    "ntk_by_parts",
    "yarn",
    "dynamic_yarn",
    "llama3",
    "rerope",
    "leaky_rerope",
    "inverse_leaky_rerope",
    "self_extend",
    "dual_chunk",
    "string",
    "dual_chunk+yarn",
    "log_n",
    "yarn_temperature",
    "dynamic_ntk:policy=whole_sequence",
    "dynamic_ntk:policy=at_birth",
)
"""The native encoding, all that need no more than a factor, and two that depend on the path."""


class InForce(Protocol):
    """An encoding that is in force."""

    @property
    def promised(self) -> bool:
        """Whether all checks must agree under it."""
        ...

    @property
    def both_ways(self) -> bool:
        """Whether the model is bidirectional, and has no key cache."""
        ...

    @property
    def layout(self) -> Mapping[str, Any]:
        """What was found in the model, for the document."""
        ...


class Methods(Protocol):
    """The methods that a model can take, one at a time."""

    def at_rest(self) -> AbstractContextManager[None]:
        """For the length of a block the model is in eval mode; afterwards it is what it was."""
        ...

    def native(self) -> AbstractContextManager[InForce]:
        """Its own encoding in force; RopewalkError for a family that cannot be extended."""
        ...

    def check(self, spec: Spec, **given: Any) -> None:
        """RopewalkError for a spec with which there is no encoding."""
        ...

    def applied(self, spec: Spec, **given: Any) -> AbstractContextManager[InForce]:
        """A method in force.

        given  ``default_factor`` and ``context_length``, as ``Spec.encoding`` takes them
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """What is verified.

    family  its ``model_type``
    own     what ``native`` stands for, where the checkpoint says it beside its config
    """

    predictor: LocalPredictor
    methods: Methods
    family: str
    sample: Sample
    own: Spec | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the document says beside its records."""
        device = self.predictor.device
        return {
            "model": self.predictor.name,
            "family": self.family,
            "trained_length": self.predictor.trained_length,
            "length": len(self.sample.long),
            "dtype": dtype_name(self.predictor.dtype),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        }

    def verified(
        self,
        specs: Sequence[str],
        listener: Listener,
        store: Store,
        elsewhere: Elsewhere | None = None,
    ) -> Document:
        """The document of methods; without any, of ``DEFAULT_SPECS``.

        elsewhere  measures methods on other workers (``records`` there)
        """
        methods = [self._method(parse_spec(text)) for text in specs or DEFAULT_SPECS]
        with self.methods.at_rest():
            with self.methods.native() as native:
                run = replace(self._verification(native, listener, store), elsewhere=elsewhere)
                # A yardstick that itself depends on the path would excuse what does.
                yardstick = self._stock if native.promised else self._static
            return run.of_methods(methods, yardstick)

    def records(self, spec: str, tolerances: Tolerances) -> list[Record]:
        """Of one method, where what it is allowed is known."""
        method = self._method(parse_spec(spec))
        with self.methods.at_rest():
            with self.methods.native() as native:
                run = self._verification(native, Silent())
            return run.measured(method, tolerances)

    def verified_stock(self, listener: Listener) -> Document:
        """The document of the library's own path."""
        with self.methods.at_rest():
            try:
                with self.methods.native() as native:
                    run = self._verification(native, listener)
                yardstick: Candidate | None = self._static
            except RopewalkError:  # a family that only the library may run
                run, yardstick = self._verification(None, listener), None
            return run.of_stock(yardstick)

    def _verification(
        self, native: InForce | None, listener: Listener, store: Store | None = None
    ) -> Verification:
        """native  the model's own encoding; None for a family that is refused"""
        both_ways = native is not None and native.both_ways
        layout = None if native is None else native.layout
        return Verification(
            model=self.predictor,
            sample=self.sample,
            checks=self._checks(WITHOUT_A_CACHE if both_ways else CHECKS),
            facts={**self.facts, "layout": layout},
            listener=listener,
            store=store or NoStore(),
        )

    def _checks(self, checks: Checks) -> Checks:
        return over_ranks(checks) if isinstance(self.predictor, SharedPredictor) else checks

    def _method(self, spec: Spec) -> Candidate:
        """Raises RopewalkError for a spec with which there is no encoding."""
        spec = in_force(spec, self.own)
        length = len(self.sample.long)
        factor = max(1.0, length / self.predictor.trained_length)
        given: dict[str, Any] = {"default_factor": factor, "context_length": length}
        self.methods.check(spec, **given)
        return Candidate(
            name=spec.text,
            canonical=spec.canonical,
            applied=lambda: self._applied(spec, given),
        )

    @contextmanager
    def _applied(self, spec: Spec, given: Mapping[str, Any]) -> Iterator[bool]:
        with self.methods.applied(spec, **given) as installed:
            yield installed.promised

    @property
    def _stock(self) -> Candidate:
        return Candidate(
            name=STOCK, canonical=STOCK, applied=lambda: nullcontext(enter_result=True)
        )

    @property
    def _static(self) -> Candidate:
        return self._method(parse_spec(STATIC))
