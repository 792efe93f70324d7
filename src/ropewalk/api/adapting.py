"""adapt: search, tune, search again, a short list."""

import time
from pathlib import Path
from typing import Any

from ropewalk.adapting.course import Course
from ropewalk.adapting.progressive import extended
from ropewalk.adapting.rehearsal import rehearse
from ropewalk.core.several import Words, several
from ropewalk.opening.checkpoints import open_checkpoint
from ropewalk.opening.subjects import search_subject_of
from ropewalk.searching.measured.result import Told
from ropewalk.searching.request import Request


def adapt(
    source: str | Path | None,
    length: int | str,
    *,
    texts: Words,
    out: str | Path,
    heldout: Words = (),
    tune_length: int | str | None = None,
    steps: int | None = None,
    budget: float | None = None,
    device: str | None = None,
    progress: Told = lambda work, share: None,
    **request: Any,
) -> dict[str, Any]:
    """LongRoPE's progressive extension: search, tune, search again, then a list for short contexts.

    source       a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    length       N, that the checkpoint is to reach, in tokens or trained lengths
    texts        files to train on
    out          a folder for each stage, and ``checkpoint``; what was stopped goes on there
    heldout      files to search, choose and test on; the bundled book without any
    tune_length  of the training; by default N / 8, or N where that is within the trained length
    steps        of the training, by default ``tune``'s
    budget       seconds, shared out among the stages
    request      ``ropewalk.searching.request.Request``, of every search

    Returns what ``ropewalk adapt --json`` prints. Raises RopewalkError for bad input.

    Source: Ding et al. 2024, LongRoPE, arXiv:2402.13753, section 3.4.
    """
    begun = time.monotonic()
    asked = Request(**request)  # a mistyped word is told before a model is loaded
    loaded = open_checkpoint(source, device=device)
    loading_seconds = time.monotonic() - begun
    course = Course.of(
        source,
        search_subject_of(loaded, source, "float32", device),
        asked,
        length,
        tune_length,
        out=Path(out),
        texts=several(texts),
        heldout=several(heldout),
        steps=steps,
        budget=budget,
        device=device,
        begun=begun,
    )
    rehearse(course, loaded, loading_seconds)
    return extended(course, progress)
