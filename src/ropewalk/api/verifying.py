"""verify: is what a full pass measures what chunked prefill, decoding and batches compute?"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.api.checkpoints import identity, open_checkpoint
from ropewalk.api.listening import Listener, Silent
from ropewalk.api.request import check_words
from ropewalk.api.verdicts import Record
from ropewalk.api.verification import Verification
from ropewalk.storage.folders import Folder

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
    verification = Verification.of(model, length, listener or Silent())
    records: list[Record] = verification.of_methods(specs or DEFAULT_SPECS)["records"]
    return records


def verify_stock(
    model: nn.Module, *, length: int | str | None = None, listener: Listener | None = None
) -> list[Record]:
    """As ``verify``, of the library's own path: the model without an extension.

    Raises RopewalkError for a bad length, a model without rope fields and an extended model.
    """
    verification = Verification.of(model, length, listener or Silent())
    records: list[Record] = verification.of_stock()["records"]
    return records


def verify_checkpoint(
    source: str | Path | None = None,
    *,
    methods: Sequence[str] = (),
    out: str | Path | None = None,
    **request: Any,
) -> dict[str, Any]:
    """``verify`` of a checkpoint: the document that ``ropewalk verify --json`` prints.

    source   a transformers folder, a .gguf file or a hub id; None for the demo model
    out      the run folder: what is measured is kept there at once, and taken from there if it
             was measured before; without it nothing is kept
    request  length and listener as in ``verify``; dtype and device by name

    Raises RopewalkError as ``verify`` does, and for a run folder of another model or setting.
    """
    check_words(methods, ())
    verification, weights = _load(source, **request)
    if out is not None:
        folder = Folder.open(Path(out), verification.manifest(weights))
        verification = replace(verification, keeping=folder)
    return verification.of_methods(methods or DEFAULT_SPECS)


def verify_stock_checkpoint(source: str | Path | None = None, **request: Any) -> dict[str, Any]:
    """``verify_stock`` of a checkpoint: what ``ropewalk verify --stock --json`` prints."""
    return _load(source, **request)[0].of_stock()


def _load(
    source: str | Path | None,
    *,
    dtype: str = "float32",
    device: str | None = None,
    length: int | str | None = None,
    listener: Listener | None = None,
) -> tuple[Verification, str]:
    """A checkpoint before its verification, and the fingerprint of its weights and config."""
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    verification = Verification.of(loaded.model, length, listener or Silent(), loaded.name)
    return verification, identity(loaded)
