"""verify: is what a full pass measures what chunked prefill, decoding and batches compute?

What a verification needs of the other rooms: a model that predicts, and methods put into it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ropewalk.api.checkpoints import identity, open_checkpoint
from ropewalk.api.extending import extend
from ropewalk.configs.shape import ModelShape, read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.request import check_words, length_in_tokens
from ropewalk.integrations.extension import EXTENSION
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.integrations.session import AnyExtension, config_of, extend_with, native_of
from ropewalk.methods.sidecar import in_force
from ropewalk.methods.spec import NATIVE, Spec, parse_spec
from ropewalk.storage.folders import Folder
from ropewalk.storage.version import code_version
from ropewalk.verification.checks import CHECKS, WITHOUT_A_CACHE, Sample, default_length
from ropewalk.verification.listening import Document, Listener, NoStore, Silent, Store
from ropewalk.verification.run import STOCK, Candidate, Verification
from ropewalk.verification.verdicts import Record, dtype_name

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


def verify(
    model: nn.Module,
    specs: Sequence[str] = (),
    *,
    length: int | str | None = None,
    listener: Listener | None = None,
) -> list[Record]:
    """Check that under a method a model computes the same, however its tokens are fed.

    specs     method specs; without any, ``DEFAULT_SPECS``. An omitted factor is the length over
              the trained length
    length    in tokens, or in trained lengths as ``2x``; without it 1.25 times the trained
              length, at least 16 and at most 512 tokens beyond it
    listener  told how far the work is, and the records of each method once they are there

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
    subject = _Subject.of(model, length)
    records: list[Record] = subject.verified(specs, listener or Silent(), NoStore())["records"]
    return records


def verify_stock(
    model: nn.Module, *, length: int | str | None = None, listener: Listener | None = None
) -> list[Record]:
    """As ``verify``, of the library's own path: the model without an extension.

    Raises RopewalkError for a bad length, a model without rope fields and an extended model.
    """
    subject = _Subject.of(model, length)
    records: list[Record] = subject.verified_stock(listener or Silent())["records"]
    return records


def verify_checkpoint(
    source: str | Path | None = None,
    *,
    methods: Sequence[str] = (),
    out: str | Path | None = None,
    listener: Listener | None = None,
    **request: Any,
) -> Document:
    """``verify`` of a checkpoint: the document that ``ropewalk verify --json`` prints.

    source   a transformers folder, a .gguf file or a hub id; None for the demo model
    out      the run folder: what is measured is kept there at once, and taken from there if it
             was measured before; without it nothing is kept
    request  length as in ``verify``; dtype and device by name

    Raises RopewalkError as ``verify`` does, and for a run folder of another model or setting.
    """
    check_words(methods, ())
    loaded, subject = _opened(source, **request)
    store: Store = NoStore()
    if out is not None:
        store = Folder.open(Path(out), subject.manifest(identity(loaded)))
    return subject.verified(methods, listener or Silent(), store)


def verify_stock_checkpoint(
    source: str | Path | None = None, *, listener: Listener | None = None, **request: Any
) -> Document:
    """``verify_stock`` of a checkpoint: what ``ropewalk verify --stock --json`` prints."""
    return _opened(source, **request)[1].verified_stock(listener or Silent())


def _opened(
    source: str | Path | None,
    *,
    length: int | str | None = None,
    dtype: str = "float32",
    device: str | None = None,
) -> "tuple[LoadedModel, _Subject]":
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    return loaded, _Subject.of(loaded.model, length, loaded.name, loaded.method)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Subject:
    """A model that predicts, what its config says, and the tokens that it is shown.

    own  what ``native`` stands for, where the checkpoint's ropewalk.json says it
    """

    predictor: TransformersPredictor
    shape: ModelShape
    sample: Sample
    own: Spec | None

    @classmethod
    def of(
        cls, model: nn.Module, length: int | str | None, name: str = "", own: Spec | None = None
    ) -> "_Subject":
        """Raises RopewalkError for a model that is extended or lacks rope fields, and for a
        length that is too short.
        """
        if getattr(model, EXTENSION, None) is not None:
            raise RopewalkError(
                "the model is extended: expected it as it was loaded; call .remove() on its "
                "extension first"
            )
        shape = read_model(config_of(model))
        trained = shape.rope().trained_length
        tokens = default_length(trained) if length is None else length_in_tokens(length, trained)
        predictor = TransformersPredictor(model=model, name=name, trained_length=trained)
        sample = Sample.of(predictor, tokens)
        return cls(predictor=predictor, shape=shape, sample=sample, own=own)

    @property
    def model(self) -> nn.Module:
        return self.predictor.model

    def manifest(self, weights: str) -> dict[str, Any]:
        """What all records have in common; ``weights`` is their fingerprint."""
        return {"command": "verify", "version": code_version(), "weights": weights, **self._facts}

    def verified(self, specs: Sequence[str], listener: Listener, store: Store) -> Document:
        """The document of methods; without any, of ``DEFAULT_SPECS``."""
        methods = [self._method(parse_spec(text)) for text in specs or DEFAULT_SPECS]
        with at_rest(self.model):
            with extend(self.model, NATIVE) as native:
                run = self._verification(native, listener, store)
                # A yardstick that itself depends on the path would excuse what does.
                yardstick = self._stock if _promises(native) else self._static
            return run.of_methods(methods, yardstick)

    def verified_stock(self, listener: Listener) -> Document:
        """The document of the library's own path."""
        with at_rest(self.model):
            try:
                with extend(self.model, NATIVE) as native:
                    run = self._verification(native, listener)
                yardstick: Candidate | None = self._static
            except RopewalkError:  # a family that only the library may run
                run, yardstick = self._verification(None, listener), None
            return run.of_stock(yardstick)

    def _verification(
        self, native: AnyExtension | None, listener: Listener, store: Store | None = None
    ) -> Verification:
        """native  the model's own encoding, installed; None for a family that is refused"""
        both_ways = native is not None and native.both_ways
        layout = None if native is None else native.describe()
        return Verification(
            model=self.predictor,
            sample=self.sample,
            checks=WITHOUT_A_CACHE if both_ways else CHECKS,
            facts={**self._facts, "layout": layout},
            listener=listener,
            store=store or NoStore(),
        )

    def _method(self, spec: Spec) -> Candidate:
        """Raises RopewalkError for a spec with which there is no encoding."""
        spec = in_force(spec, self.own)
        length = len(self.sample.long)
        factor = max(1.0, length / self.predictor.trained_length)
        given: dict[str, Any] = {"default_factor": factor, "context_length": length}
        native = native_of(self.model)
        spec.encoding(native.geometry, native=native, **given)

        @contextmanager
        def applied() -> Iterator[bool]:
            with extend_with(self.model, spec, **given) as extension:
                yield _promises(extension)

        return Candidate(name=spec.text, canonical=spec.canonical, applied=applied)

    @property
    def _stock(self) -> Candidate:
        return Candidate(
            name=STOCK, canonical=STOCK, applied=lambda: nullcontext(enter_result=True)
        )

    @property
    def _static(self) -> Candidate:
        return self._method(parse_spec(STATIC))

    @property
    def _facts(self) -> dict[str, Any]:
        device = self.predictor.device
        return {
            "model": self.predictor.name,
            "family": str(self.shape.config.get("model_type", type(self.model).__name__)),
            "trained_length": self.predictor.trained_length,
            "length": len(self.sample.long),
            "dtype": dtype_name(self.predictor.dtype),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        }


def _promises(extension: AnyExtension) -> bool:
    """Whether all checks must agree."""
    return all(each.path_independent for each in extension.wanted.values())
