"""A verification as it runs: first the yardstick, then one method after the other.

The records of a method are told and kept as soon as they are there.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.storage.folders import Key
from ropewalk.verification.checks import Checks, Reference, Sample, rounding
from ropewalk.verification.listening import Document, Listener, NoStore, Store
from ropewalk.verification.predictor import LocalPredictor
from ropewalk.verification.verdicts import (
    DECLARED,
    FAILED,
    NOT_RUN,
    Gaps,
    Record,
    Tolerances,
    not_run,
)

STOCK = "stock"
"""What records call the library's own path."""
_YARDSTICK = Key.of({"yardstick": True})


Elsewhere = Callable[[Sequence[str], Tolerances], Iterable[tuple[str, list[Record]]]]
"""Names of methods, and what each is allowed -> the records of each, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is put into the model for the length of a block.

    name       as typed
    canonical  the same for all spellings: what its records are kept under
    applied    puts it in and yields whether it promises that all checks agree; raises
               RopewalkError where the model refuses it
    """

    name: str
    canonical: str
    applied: Callable[[], AbstractContextManager[bool]]

    @property
    def key(self) -> Key:
        return Key.of({"method": self.canonical})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verification:
    """A model, its tokens and its checks; who is told, and where records go.

    facts      what the document says beside ``records`` and ``passed``
    elsewhere  measures methods on other workers; None: on ``model``, one after the other
    """

    model: LocalPredictor
    sample: Sample
    checks: Checks
    facts: Mapping[str, Any]
    listener: Listener
    store: Store = field(default_factory=NoStore)
    elsewhere: Elsewhere | None = None

    def of_methods(self, methods: Sequence[Candidate], yardstick: Candidate) -> Document:
        """The document of ``methods``, each allowed what the yardstick needs.

        Raises RopewalkError if no method could run.
        """
        allowed = self._kept_tolerances()
        kept = {} if allowed is None else self._kept(methods)
        meter = _Meter(self, len(methods) - len(kept) + (allowed is None))
        tolerances = allowed or self._noted(self._allowed_by(yardstick, meter, self.model.dtype))
        self.listener.begun(self._document([]))
        found = {
            name: self._told(each) for name, each in self._each(methods, kept, tolerances, meter)
        }
        records = [record for method in methods for record in found[method.name]]
        if all(record["status"] == NOT_RUN for record in records):
            raise RopewalkError(f"no method could run: {records[0]['sentence']}")
        return self._document(records)

    def of_stock(self, yardstick: Candidate | None) -> Document:
        """The document of the library's own path. Nothing is kept: it is one method.

        Its own gaps would excuse whatever it does, so the yardstick is another method; without
        one, the floor of the dtype alone is allowed.
        """
        # The library's angles are float32 in a float64 model too, and its own path has no finer
        # promise: shifted positions round otherwise.
        dtype = torch.float32 if self.model.dtype is torch.float64 else self.model.dtype
        meter = _Meter(self, 2)
        gaps = self._gaps(STOCK, meter)
        if yardstick is None:
            tolerances = Tolerances.of(gaps, dtype, self.model.trained_length, 0.0)
        else:
            tolerances = self._allowed_by(yardstick, meter, dtype)
        self.listener.begun(self._document([]))
        return self._document(self._told(tolerances.records(STOCK, gaps, FAILED)))

    def _allowed_by(self, yardstick: Candidate, meter: "_Meter", dtype: torch.dtype) -> Tolerances:
        with yardstick.applied():
            gaps = self._gaps(yardstick.name, meter)
            return Tolerances.of(gaps, dtype, self.model.trained_length)

    def _noted(self, allowed: Tolerances) -> Tolerances:
        kept = {"allowed": dict(allowed.by_check), "rounding": allowed.rounding}
        self.store.save(_YARDSTICK, kept)
        return allowed

    def _kept_tolerances(self) -> Tolerances | None:
        found = self.store.load(_YARDSTICK)
        if found is None:
            return None
        return Tolerances(
            by_check=found["allowed"],
            rounding=found["rounding"],
            trained_length=self.model.trained_length,
        )

    def _kept(self, methods: Sequence[Candidate]) -> dict[str, list[Record]]:
        found = {method.name: self.store.load(method.key) for method in methods}
        return {
            name: [{**record, "method": name} for record in stored["records"]]
            for name, stored in found.items()
            if stored is not None
        }

    def _each(
        self,
        methods: Sequence[Candidate],
        kept: Mapping[str, list[Record]],
        tolerances: Tolerances,
        meter: "_Meter",
    ) -> Iterator[tuple[str, list[Record]]]:
        """The records of each method: in order, or as they come from elsewhere."""
        if self.elsewhere is None:
            for method in methods:
                found = kept.get(method.name) or self._measured(method, tolerances, meter)
                yield method.name, found
            return
        yield from kept.items()
        left = {method.name: method for method in methods if method.name not in kept}
        if not left:
            return
        meter.tell("workers")
        for name, records in self.elsewhere(list(left), tolerances):
            self._keep(left[name], records)
            meter.tell(name)
            meter.skip()
            yield name, records

    def measured(self, method: Candidate, tolerances: Tolerances) -> list[Record]:
        """The records of one method."""
        return self._measured(method, tolerances, _Meter(self, 1))

    def _keep(self, method: Candidate, records: list[Record]) -> None:
        """If it ran and all its figures are numbers."""
        figures = [record["max_logit_difference"] for record in records]
        if all(figure is not None and math.isfinite(figure) for figure in figures):
            self.store.save(method.key, {"records": records})

    def _measured(self, method: Candidate, tolerances: Tolerances, meter: "_Meter") -> list[Record]:
        """The records of a method, kept as ``_keep`` says."""
        with ExitStack() as stack:
            try:
                promised = stack.enter_context(method.applied())
            except RopewalkError as error:
                meter.skip()
                return [not_run(method.name, check, str(error)) for check in self.checks]
            beyond = FAILED if promised else DECLARED
            records = tolerances.records(method.name, self._gaps(method.name, meter), beyond)
        self._keep(method, records)
        return records

    def _told(self, records: list[Record]) -> list[Record]:
        self.listener.finished(records)
        return records

    def _gaps(self, method: str, meter: "_Meter") -> Gaps:
        """Every check on the model as it stands."""
        meter.tell(method)
        reference = Reference(self.model, self.sample)
        gaps = {}
        for name, check in self.checks.items():
            meter.tell(f"{method}, {name}")
            gaps[name] = check(reference)
            meter.advance()
        return Gaps(
            by_check=gaps,
            rounding=lambda: rounding(self.model, reference).max_logit_difference,
        )

    def _document(self, records: list[Record]) -> Document:
        passed = all(record["status"] != FAILED for record in records)
        return {**self.facts, "records": records, "passed": passed}


class _Meter:
    """How far the work is, in checks."""

    def __init__(self, verification: Verification, methods: int) -> None:
        self._listener, self._checks = verification.listener, len(verification.checks)
        self._all, self._done = methods * self._checks, 0

    def tell(self, work: str) -> None:
        self._listener.working(work, self._done / self._all)

    def advance(self) -> None:
        self._done += 1

    def skip(self) -> None:
        """Of a method that cannot run, or ran elsewhere."""
        self._done += self._checks
