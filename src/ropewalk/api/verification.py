"""verify: is what a full pass measures what chunked prefill, decoding and batches compute?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.request import check_words
from ropewalk.opening.subjects import verify_subject
from ropewalk.opening.verifying import VerifyJob
from ropewalk.ranks.ranks import Ranks
from ropewalk.verification.listening import Document, Listener, NoStore, Silent
from ropewalk.verification.verdicts import Record


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
    subject = verify_subject(model, length)
    records: list[Record] = subject.verified(specs, listener or Silent(), NoStore())["records"]
    return records


def verify_stock(
    model: nn.Module, *, length: int | str | None = None, listener: Listener | None = None
) -> list[Record]:
    """As ``verify``, of the library's own path: the model without an extension.

    Raises RopewalkError for a bad length, a model without rope fields and an extended model.
    """
    subject = verify_subject(model, length)
    records: list[Record] = subject.verified_stock(listener or Silent())["records"]
    return records


def verify_checkpoint(
    source: str | Path | None = None,
    *,
    methods: Sequence[str] = (),
    out: str | Path | None = None,
    listener: Listener | None = None,
    ranks: Ranks | None = None,
    executor: Executor | None = None,
    **request: Any,
) -> Document:
    """``verify`` of a checkpoint: the document that ``ropewalk verify --json`` prints.

    source   a transformers folder, a .gguf file or a hub id; None for the demo model
    out      the run folder: what is measured is kept there at once, and taken from there if it
             was measured before; without it nothing is kept
    ranks    processes that read each sequence together, as torchrun starts them: what they compute
             is also compared with one of them alone, and decoding, which is not shared out, is
             left out
    executor where methods are measured, each on one worker; this process by default
    request  length as in ``verify``; dtype and device by name

    Raises RopewalkError as ``verify`` does, for ranks beside an executor, and for a run folder of
    another model or setting.
    """
    check_words(methods, ())
    job = VerifyJob(source=source, **request)
    return job.document(methods, listener or Silent(), out, ranks, executor)


def verify_stock_checkpoint(
    source: str | Path | None = None, *, listener: Listener | None = None, **request: Any
) -> Document:
    """``verify_stock`` of a checkpoint: what ``ropewalk verify --stock --json`` prints."""
    _, subject = VerifyJob(source=source, **request).opened()
    return subject.verified_stock(listener or Silent())
