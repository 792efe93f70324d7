"""verify: is what a full pass measures what chunked prefill, decoding and batches compute?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ropewalk.api.checkpoints import open_checkpoint
from ropewalk.api.extending import config_of, extend, extend_with
from ropewalk.api.request import check_words, length_in_tokens
from ropewalk.api.verdicts import (
    DECLARED,
    FAILED,
    NOT_RUN,
    ROOM,
    Record,
    Tolerances,
    dtype_name,
    not_run,
)
from ropewalk.core.config import read_rope_section
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.consistency import (
    CHECKS,
    WITHOUT_A_CACHE,
    Checks,
    Gap,
    Reference,
    Sample,
)
from ropewalk.integrations.extension import EXTENSION, Extension
from ropewalk.integrations.modes import at_rest
from ropewalk.methods.from_config import encoding_from_config
from ropewalk.methods.spec import NATIVE, Spec, parse_spec

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

STOCK = "stock"
"""What records call the library's own path."""
STATIC = "none"
"""The yardstick where the library's own path is none: one base, on the library's attention."""
SHORTEST = 16
FEWEST_BEYOND, MOST_BEYOND = 16, 512
"""Tokens beyond the trained length where none is said: a quarter of it, within these."""

Progress = Callable[[str, float], None]
"""Told what begins, and the share of the whole that is done."""


def _silent(work: str, share: float) -> None:
    return None


def verify(
    model: nn.Module,
    specs: Sequence[str] = (),
    *,
    length: int | str | None = None,
    progress: Progress = _silent,
) -> list[Record]:
    """Check that under a method a model computes the same, however its tokens are fed.

    specs   method specs; without any, ``DEFAULT_SPECS``. An omitted factor is the length over
            the trained length
    length  in tokens, or in trained lengths as ``2x``; without it 1.25 times the trained
            length, at least 16 and at most 512 tokens beyond it

    Returns a record for each method and each check (``chunked``, ``decode``, ``padded``,
    ``history``; of a bidirectional model the last two): method, check, status,
    max_logit_difference, max_total_variation, tolerance, sentence. The status is ``ok``,
    ``failed``, ``differs, as declared`` (an encoding that does not promise path independence)
    or ``not run`` (this model refuses the method). The model is afterwards what it was, bit for
    bit.

    Raises RopewalkError for a bad spec or length, a model that is extended or unsupported, and
    where no method could run.
    """
    check_words(specs, ())
    records: list[Record] = _Case.of(model, length, progress).verified(specs)["records"]
    return records


def verify_stock(
    model: nn.Module, *, length: int | str | None = None, progress: Progress = _silent
) -> list[Record]:
    """As ``verify``, of the library's own path: the model without an extension.

    Raises RopewalkError for a bad length, a model without rope fields and an extended model.
    """
    records: list[Record] = _Case.of(model, length, progress).stock()["records"]
    return records


def verify_checkpoint(
    source: str | Path | None = None, *, methods: Sequence[str] = (), **request: Any
) -> dict[str, Any]:
    """``verify`` of a checkpoint: the document that ``ropewalk verify --json`` prints.

    source   a transformers folder, a .gguf file or a hub id; None for the demo model
    request  length and progress as in ``verify``; dtype and device by name
    """
    check_words(methods, ())
    name, case = _load(source, **request)
    return {"model": name, **case.verified(methods)}


def verify_stock_checkpoint(source: str | Path | None = None, **request: Any) -> dict[str, Any]:
    """``verify_stock`` of a checkpoint: what ``ropewalk verify --stock --json`` prints."""
    name, case = _load(source, **request)
    return {"model": name, **case.stock()}


def _load(
    source: str | Path | None,
    *,
    dtype: str = "float32",
    device: str | None = None,
    length: int | str | None = None,
    progress: Progress = _silent,
) -> tuple[str, "_Case"]:
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    return loaded.name, _Case.of(loaded.model, length, progress)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """A model, the tokens that it is shown, and who is told how far the work is."""

    model: nn.Module
    config: Mapping[str, Any]
    sample: Sample
    progress: Progress

    @classmethod
    def of(cls, model: nn.Module, length: int | str | None, progress: Progress) -> "_Case":
        if getattr(model, EXTENSION, None) is not None:
            raise RopewalkError(
                "the model is extended: expected it as it was loaded; call .remove() on its "
                "extension first"
            )
        config = config_of(model)
        trained_length = read_rope_section(config).geometry().trained_length
        beyond = min(max(trained_length // 4, FEWEST_BEYOND), MOST_BEYOND)
        default = trained_length + beyond
        tokens = default if length is None else length_in_tokens(length, trained_length)
        if tokens < SHORTEST:
            raise RopewalkError(f"length {length}: expected at least {SHORTEST} tokens")
        sample = Sample.of(model, tokens, trained_length)
        return cls(model=model, config=config, sample=sample, progress=progress)

    def verified(self, methods: Sequence[str]) -> dict[str, Any]:
        """The document of methods, without the model's name."""
        specs = [parse_spec(text) for text in methods or DEFAULT_SPECS]
        self._require_encodings(specs)
        with at_rest(self.model):
            with extend(self.model, NATIVE) as native:
                layout, checks = native.describe(), _checks(native)
                static = all(each.path_independent for each in native.wanted.values())
            meter = _Meter(len(specs) + 1, checks, self.progress)
            gaps = self._gaps(STOCK, meter) if static else self._static_gaps(meter)
            tolerances = Tolerances.of(gaps, self._dtype, self.sample.trained_length)
            records = [record for spec in specs for record in self._method(spec, tolerances, meter)]
        if all(record["status"] == NOT_RUN for record in records):
            raise RopewalkError(f"no method could run: {records[0]['sentence']}")
        return self._document(layout, records)

    def stock(self) -> dict[str, Any]:
        """The document of the library's own path, without the model's name.

        Its own gaps would excuse whatever it does, so the yardstick is a static method; for a
        family that ``extend`` refuses, the floor of the dtype alone.
        """
        # The library's angles are float32 in a float64 model too, and its own path has no finer
        # promise: shifted positions round otherwise.
        dtype = torch.float32 if self._dtype is torch.float64 else self._dtype
        with at_rest(self.model):
            layout, checks = self._layout()
            meter = _Meter(2, checks, self.progress)
            gaps = self._gaps(STOCK, meter)
            yardstick, room = (gaps, 0.0) if layout is None else (self._static_gaps(meter), ROOM)
        tolerances = Tolerances.of(yardstick, dtype, self.sample.trained_length, room)
        records = [tolerances.record(STOCK, check, gap, FAILED) for check, gap in gaps.items()]
        return self._document(layout, records)

    def _require_encodings(self, specs: Sequence[Spec]) -> None:
        """Raise for a spec with which there is no encoding, before anything is measured."""
        geometry = read_rope_section(self.config).geometry()
        native = encoding_from_config(self.config)
        for spec in specs:
            spec.encoding(geometry, native=native, **self._factors)

    def _method(self, spec: Spec, tolerances: Tolerances, meter: "_Meter") -> Iterator[Record]:
        try:
            extension = extend_with(self.model, spec, **self._factors)
        except RopewalkError as error:
            meter.skip()
            yield from (not_run(spec.text, check, str(error)) for check in meter.checks)
            return
        with extension:
            promised = all(each.path_independent for each in extension.wanted.values())
            gaps = self._gaps(spec.text, meter)
        for check, gap in gaps.items():
            yield tolerances.record(spec.text, check, gap, FAILED if promised else DECLARED)

    def _gaps(self, method: str, meter: "_Meter") -> dict[str, Gap]:
        """Every check on the model as it stands."""
        meter.tell(method)
        reference = Reference(self.model, self.sample)
        gaps = {}
        for name, check in meter.checks.items():
            meter.tell(f"{method}, {name}")
            gaps[name] = check(reference)
            meter.advance()
        return gaps

    def _static_gaps(self, meter: "_Meter") -> dict[str, Gap]:
        with extend(self.model, STATIC):
            return self._gaps(STATIC, meter)

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

    def _document(self, layout: dict[str, Any] | None, records: list[Record]) -> dict[str, Any]:
        return {
            "family": str(self.config.get("model_type", type(self.model).__name__)),
            "trained_length": self.sample.trained_length,
            "length": len(self.sample.long),
            "dtype": dtype_name(self._dtype),
            "layout": layout,
            "records": records,
            "passed": all(record["status"] != FAILED for record in records),
        }


def _checks(native: Extension) -> Checks:
    """Those that a model of this kind can be put to."""
    return WITHOUT_A_CACHE if native.layout.horizon is Horizon.BOTH_WAYS else CHECKS


class _Meter:
    """The checks of each method, and how far the work is, in checks."""

    def __init__(self, methods: int, checks: Checks, progress: Progress) -> None:
        self.checks, self._progress = checks, progress
        self._all, self._done = methods * len(checks), 0

    def tell(self, work: str) -> None:
        self._progress(work, self._done / self._all)

    def advance(self) -> None:
        self._done += 1

    def skip(self) -> None:
        """Of a method that cannot run."""
        self._done += len(self.checks)
