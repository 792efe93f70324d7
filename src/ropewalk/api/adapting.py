"""adapt: search, tune, search again, a short list."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ropewalk.adapting.course import Course
from ropewalk.adapting.progressive import extended
from ropewalk.opening.subjects import search_subject
from ropewalk.searching.measured.result import Told
from ropewalk.searching.request import Request


def adapt(
    source: str | Path | None,
    length: int | str,
    *,
    texts: Sequence[str | Path],
    out: str | Path,
    heldout: Sequence[str | Path] = (),
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
    course = Course.of(
        source,
        search_subject(source, "float32", device),
        Request(**request),
        length,
        tune_length,
        out=Path(out),
        texts=texts,
        heldout=heldout,
        steps=steps,
        budget=budget,
        device=device,
    )
    return extended(course, progress)
