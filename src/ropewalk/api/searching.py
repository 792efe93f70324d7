"""search: factors for LongRoPE's lists, of a checkpoint, against the fixed schedules."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ropewalk.api.checkpoints import CheckpointSource, identity, open_checkpoint
from ropewalk.configs.shape import read_model
from ropewalk.data import demo_book
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import config_of, native_of
from ropewalk.searching.measured.contestants import Contestants, Subject
from ropewalk.searching.measured.result import Told, finished
from ropewalk.searching.measured.searched import Texts, searched
from ropewalk.searching.request import Request


def search(
    source: str | Path | None,
    length: int | str,
    *,
    texts: Sequence[str | Path] = (),
    heldout: Sequence[str | Path] = (),
    out: str | Path | None = None,
    budget: float | None = None,
    dtype: str = "float32",
    device: str | None = None,
    batch: int = 1,
    executor: Executor | None = None,
    progress: Told = lambda work, share: None,
    **request: Any,
) -> dict[str, Any]:
    """Factors for LongRoPE's lists that beat the fixed schedules on held-out documents, or none.

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    length    N in tokens, or in trained lengths as ``8x``
    texts     UTF-8 files; the bundled book without any
    heldout  files of the test documents; without any, the last part of each text
    out       the folder; a search that was stopped goes on there
    budget    seconds, loading and evaluation included
    batch     documents that go through the model at once
    executor  where measurements run; this process by default
    request   the other flags of ``ropewalk search --help`` (``ropewalk.searching.request.Request``)

    Returns what ``ropewalk search --json`` prints, and writes it with ``factors.json`` and
    pictures. Raises RopewalkError for bad input.
    """
    begun, asked = time.monotonic(), Request(**request)
    subject = subject_of(source, dtype, device)
    tokens = length_in_tokens(length, subject.geometry.trained_length)
    one = searched(
        subject,
        asked,
        Contestants.of(subject, tokens),
        tokens,
        texts=Texts(
            search=[Path(text) for text in texts] or [demo_book()],
            heldout=[Path(text) for text in heldout],
        ),
        out=out,
        executor=executor,
        batch=batch,
    )
    return finished(one, budget, begun, progress)


def subject_of(source: str | Path | None, dtype: str, device: str | None) -> Subject:
    """A checkpoint as a search takes it. Raises RopewalkError if it cannot be loaded."""
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    return Subject(
        name=loaded.name,
        weights=identity(loaded),
        dtype=dtype,
        geometry=read_model(config_of(loaded.model)).rope().geometry(),
        native=native_of(loaded.model),
        tokenizer=loaded.require_tokenizer(),
        model=TransformersScorer(loaded.model),
        source=CheckpointSource(place=source, dtype=dtype, device=device, loaded=loaded),
    )
