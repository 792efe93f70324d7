"""A verification as it runs: a model and its tokens, the yardstick, one method after the other.

The records of a method are told and kept as soon as they are there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ropewalk.api.extending import config_of, extend, extend_with
from ropewalk.api.listening import Document, Keeping, Listener, Nowhere
from ropewalk.api.request import length_in_tokens
from ropewalk.api.verdicts import (
    DECLARED,
    FAILED,
    NOT_RUN,
    Gaps,
    Record,
    Tolerances,
    dtype_name,
    not_run,
)
from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.consistency import (
    CHECKS,
    WITHOUT_A_CACHE,
    Checks,
    Reference,
    Sample,
)
from ropewalk.integrations.extension import EXTENSION, Extension
from ropewalk.integrations.modes import at_rest
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import NATIVE, Spec, parse_spec
from ropewalk.storage.folders import Key
from ropewalk.storage.version import code_version

STOCK = "stock"
"""What records call the library's own path."""
STATIC = "none"
"""The yardstick where the library's own path is none: one base, on the library's attention."""
SHORTEST = 16
FEWEST_BEYOND, MOST_BEYOND = 16, 512
"""Tokens beyond the trained length where none is said: a quarter of it, within these."""
_YARDSTICK = Key.of({"yardstick": True})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verification:
    """A model and its name, the tokens that it is shown, who is told and where records go."""

    model: nn.Module
    name: str
    config: Mapping[str, Any]
    sample: Sample
    listener: Listener
    keeping: Keeping = field(default_factory=Nowhere)

    @classmethod
    def of(
        cls, model: nn.Module, length: int | str | None, listener: Listener, name: str = ""
    ) -> "Verification":
        """length  as in ``rw.verify``

        Raises RopewalkError for a model that is extended or lacks rope fields, and for a length
        that is too short.
        """
        if getattr(model, EXTENSION, None) is not None:
            raise RopewalkError(
                "the model is extended: expected it as it was loaded; call .remove() on its "
                "extension first"
            )
        config = config_of(model)
        trained_length = read_model(config).rope().geometry().trained_length
        beyond = min(max(trained_length // 4, FEWEST_BEYOND), MOST_BEYOND)
        default = trained_length + beyond
        tokens = default if length is None else length_in_tokens(length, trained_length)
        if tokens < SHORTEST:
            raise RopewalkError(f"length {length}: expected at least {SHORTEST} tokens")
        sample = Sample.of(model, tokens, trained_length)
        return cls(model=model, name=name, config=config, sample=sample, listener=listener)

    def manifest(self, weights: str) -> dict[str, Any]:
        """What all records have in common; ``weights`` is their fingerprint."""
        return {"command": "verify", "version": code_version(), "weights": weights, **self._facts}

    def of_methods(self, methods: Sequence[str]) -> Document:
        """The document of methods."""
        specs = [parse_spec(text) for text in methods]
        self._require_encodings(specs)
        with at_rest(self.model):
            with extend(self.model, NATIVE) as native:
                layout, checks = native.describe(), _checks(native)
                static = all(each.path_independent for each in native.wanted.values())
            allowed = self._kept_tolerances()
            kept = {} if allowed is None else self._kept(specs)
            left = len(specs) - len(kept) + (allowed is None)
            meter = _Meter(left, checks, self.listener)
            measure = self._allowed_by_stock if static else self._allowed_by_static
            tolerances = allowed or self._noted(measure(meter, self._dtype))
            self.listener.begun(self._document(layout, []))
            records = [
                record
                for spec in specs
                for record in self._told(
                    kept.get(spec.text) or self._measured(spec, tolerances, meter)
                )
            ]
        if all(record["status"] == NOT_RUN for record in records):
            raise RopewalkError(f"no method could run: {records[0]['sentence']}")
        return self._document(layout, records)

    def of_stock(self) -> Document:
        """The document of the library's own path. Nothing is kept: it is one method.

        Its own gaps would excuse whatever it does, so the yardstick is a static method; for a
        family that ``extend`` refuses, the floor of the dtype alone.
        """
        # The library's angles are float32 in a float64 model too, and its own path has no finer
        # promise: shifted positions round otherwise.
        dtype = torch.float32 if self._dtype is torch.float64 else self._dtype
        with at_rest(self.model):
            layout, checks = self._layout()
            meter = _Meter(2, checks, self.listener)
            gaps = self._gaps(STOCK, meter)
            if layout is None:
                tolerances = Tolerances.of(gaps, dtype, self.sample.trained_length, 0.0)
            else:
                tolerances = self._allowed_by_static(meter, dtype)
            self.listener.begun(self._document(layout, []))
            records = self._told(tolerances.records(STOCK, gaps, FAILED))
        return self._document(layout, records)

    def _require_encodings(self, specs: Sequence[Spec]) -> None:
        """Raise for a spec with which there is no encoding, before anything is measured."""
        section = read_model(self.config).rope()
        geometry, native = section.geometry(), native_encoding(section)
        for spec in specs:
            spec.encoding(geometry, native=native, **self._factors)

    def _allowed_by_stock(self, meter: "_Meter", dtype: torch.dtype) -> Tolerances:
        return Tolerances.of(self._gaps(STOCK, meter), dtype, self.sample.trained_length)

    def _allowed_by_static(self, meter: "_Meter", dtype: torch.dtype) -> Tolerances:
        with extend(self.model, STATIC):
            return Tolerances.of(self._gaps(STATIC, meter), dtype, self.sample.trained_length)

    def _noted(self, allowed: Tolerances) -> Tolerances:
        kept = {"allowed": dict(allowed.by_check), "rounding": allowed.rounding}
        self.keeping.save(_YARDSTICK, kept)
        return allowed

    def _kept_tolerances(self) -> Tolerances | None:
        found = self.keeping.load(_YARDSTICK)
        if found is None:
            return None
        return Tolerances(
            by_check=found["allowed"],
            rounding=found["rounding"],
            trained_length=self.sample.trained_length,
        )

    def _kept(self, specs: Sequence[Spec]) -> dict[str, list[Record]]:
        found = {spec: self.keeping.load(_key(spec)) for spec in specs}
        return {
            spec.text: [{**record, "method": spec.text} for record in stored["records"]]
            for spec, stored in found.items()
            if stored is not None
        }

    def _measured(self, spec: Spec, tolerances: Tolerances, meter: "_Meter") -> list[Record]:
        """The records of a method, kept if it ran and all its figures are numbers."""
        try:
            extension = extend_with(self.model, spec, **self._factors)
        except RopewalkError as error:
            meter.skip()
            return [not_run(spec.text, check, str(error)) for check in meter.checks]
        with extension:
            promised = all(each.path_independent for each in extension.wanted.values())
            beyond = FAILED if promised else DECLARED
            records = tolerances.records(spec.text, self._gaps(spec.text, meter), beyond)
        if all(math.isfinite(record["max_logit_difference"]) for record in records):
            self.keeping.save(_key(spec), {"records": records})
        return records

    def _told(self, records: list[Record]) -> list[Record]:
        self.listener.finished(records)
        return records

    def _gaps(self, method: str, meter: "_Meter") -> Gaps:
        """Every check on the model as it stands."""
        meter.tell(method)
        reference = Reference(self.model, self.sample)
        gaps = {}
        for name, check in meter.checks.items():
            meter.tell(f"{method}, {name}")
            gaps[name] = check(reference)
            meter.advance()
        return Gaps(by_check=gaps, rounding=lambda: reference.rounding().max_logit_difference)

    def _layout(self) -> tuple[dict[str, Any] | None, Checks]:
        """No layout for a family that ``extend`` refuses: the library may still run it."""
        try:
            with extend(self.model, NATIVE) as native:
                return native.describe(), _checks(native)
        except RopewalkError:
            return None, CHECKS

    @property
    def _factors(self) -> dict[str, Any]:
        length = len(self.sample.long)
        factor = max(1.0, length / self.sample.trained_length)
        return {"default_factor": factor, "context_length": length}

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def _facts(self) -> dict[str, Any]:
        device = self.sample.long.device
        return {
            "model": self.name,
            "family": str(self.config.get("model_type", type(self.model).__name__)),
            "trained_length": self.sample.trained_length,
            "length": len(self.sample.long),
            "dtype": dtype_name(self._dtype),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        }

    def _document(self, layout: dict[str, Any] | None, records: list[Record]) -> Document:
        passed = all(record["status"] != FAILED for record in records)
        return {**self._facts, "layout": layout, "records": records, "passed": passed}


def _key(spec: Spec) -> Key:
    return Key.of({"method": spec.canonical})


def _checks(native: Extension) -> Checks:
    """Those that a model of this kind can be put to."""
    return WITHOUT_A_CACHE if native.layout.horizon is Horizon.BOTH_WAYS else CHECKS


class _Meter:
    """The checks of each method, and how far the work is, in checks."""

    def __init__(self, methods: int, checks: Checks, listener: Listener) -> None:
        self.checks, self._listener = checks, listener
        self._all, self._done = methods * len(checks), 0

    def tell(self, work: str) -> None:
        self._listener.working(work, self._done / self._all)

    def advance(self) -> None:
        self._done += 1

    def skip(self) -> None:
        """Of a method that cannot run."""
        self._done += len(self.checks)
