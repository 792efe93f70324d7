"""A search, from words to a folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.core.seconds import require_seconds
from ropewalk.data import demo_book
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.opening.subjects import search_subject
from ropewalk.searching.measured.contestants import Contestants
from ropewalk.searching.measured.result import Told, finished
from ropewalk.searching.measured.search import Texts, searched
from ropewalk.searching.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchJob:
    """A search as it is asked for.

    texts     to search and choose on; the bundled book without any
    heldout   to test on; without any, the last part of each text
    executor  where measurements run; this process by default
    batch     documents that go through the model at once
    """

    source: str | Path | None
    length: int | str
    request: Request
    texts: Sequence[str | Path] = ()
    heldout: Sequence[str | Path] = ()
    out: str | Path | None = None
    budget: float | None = None
    dtype: str = "float32"
    device: str | None = None
    batch: int = 1
    executor: Executor | None = None

    def run(self, progress: Told) -> dict[str, Any]:
        """The document of ``ropewalk search``. Raises RopewalkError for bad input."""
        begun = time.monotonic()
        require_seconds(self.budget)  # before a model is loaded and a folder made
        subject = search_subject(self.source, self.dtype, self.device)
        tokens = length_in_tokens(self.length, subject.geometry.trained_length)
        one = searched(
            subject,
            self.request,
            Contestants.of(subject, tokens),
            tokens,
            texts=Texts(
                search=[Path(text) for text in self.texts] or [demo_book()],
                heldout=[Path(text) for text in self.heldout],
            ),
            out=self.out,
            executor=self.executor,
            batch=self.batch,
        )
        return finished(one, self.budget, begun, progress)
