"""search: factors for LongRoPE's lists, of a checkpoint, against the fixed schedules."""

from pathlib import Path
from typing import Any

from ropewalk.adapting.search import SearchJob
from ropewalk.core.several import Words, several
from ropewalk.evaluation.executor import Executor
from ropewalk.searching.measured.result import Told
from ropewalk.searching.request import Request


def search(
    source: str | Path | None,
    length: int | str,
    *,
    texts: Words = (),
    heldout: Words = (),
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
    heldout   files of the test documents; without any, the last part of each text
    out       the folder; a search that was stopped goes on there
    budget    seconds, loading and evaluation included
    batch     documents that go through the model at once
    executor  where measurements run; this process by default
    request   the other flags of ``ropewalk search --help`` (``ropewalk.searching.request.Request``)

    Returns what ``ropewalk search --json`` prints, and writes it with ``factors.json`` and
    pictures. Raises RopewalkError for bad input.
    """
    job = SearchJob(
        source=source,
        length=length,
        request=Request(**request),
        texts=several(texts),
        heldout=several(heldout),
        out=out,
        budget=budget,
        dtype=dtype,
        device=device,
        batch=batch,
        executor=executor,
    )
    return job.run(progress)
