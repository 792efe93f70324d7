"""Lengths, texts and seconds of all stages of a progressive extension."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ropewalk.core.errors import RopewalkError
from ropewalk.core.seconds import require_seconds
from ropewalk.data import demo_book
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.evaluation.stretches import require_room, stretches
from ropewalk.searching.budget import SIZES
from ropewalk.searching.measured.contestants import Subject
from ropewalk.searching.request import Request
from ropewalk.training.tuning.positions import FullLength, Lengths
from ropewalk.training.tuning.request import TuneRequest
from ropewalk.training.tuning.windows import require_window

STRETCH = 8
"""Of a second search, without training: the longest that LongRoPE found to hold."""
FOUND, TUNED, AGAIN, SHORT = "search", "tuned", "again", "short"
"""Folders of the stages."""
BASE, CHECKPOINT = "base", "checkpoint"
"""Folders of what is measured of the model as it was, and of the result."""
SHARES = (0.2, 0.5, 0.2, 0.1)
"""Of a budget: search, tune, search again, the short list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What all stages share.

    base     the checkpoint as it was
    length   N, in tokens; ``tuned`` is the length of the training
    texts    to train on; ``heldout`` to search, choose and test on
    steps    of the training; None for the default
    begun    of ``time.monotonic``
    """

    source: str | Path | None
    base: Subject
    asked: Request
    length: int
    tuned: int
    out: Path
    texts: list[Path]
    heldout: list[Path]
    steps: int | None
    budget: float | None
    device: str | None
    begun: float

    @classmethod
    def of(
        cls,
        source: str | Path | None,
        base: Subject,
        asked: Request,
        length: int | str,
        tune_length: int | str | None,
        *,
        out: Path,
        texts: Sequence[str | Path],
        heldout: Sequence[str | Path],
        steps: int | None,
        budget: float | None,
        device: str | None,
        begun: float,
    ) -> "Course":
        """From words; the bundled book is held out where no text is.

        Raises RopewalkError for what some stage could not do.
        """
        require_seconds(budget)
        tokens, tuned = _lengths(base.geometry.trained_length, length, tune_length)
        kept = [Path(text) for text in heldout] or [demo_book()]
        files = [Path(text) for text in texts]
        if shared := {each.resolve() for each in files} & {each.resolve() for each in kept}:
            raise RopewalkError(
                f"{min(shared)} is trained on and held out: expected different files; give another "
                "--heldout"
            )
        if out.exists() and not out.is_dir():
            raise RopewalkError(f"{out} is a file: expected a folder; give another --out")
        _require_texts(base, asked, tokens, tuned, files, kept)  # before hours of searching
        return cls(
            source=source,
            base=base,
            asked=asked,
            length=tokens,
            tuned=tuned,
            out=out,
            texts=files,
            heldout=kept,
            steps=steps,
            budget=budget,
            device=device,
            begun=begun,
        )

    @property
    def trained(self) -> int:
        """L0."""
        return self.base.geometry.trained_length

    def request(self, method: str) -> TuneRequest:
        """Of the training, under a method."""
        steps = () if self.steps is None else self.steps
        return TuneRequest(method=method, length=self.tuned, steps=steps)

    def seconds(self, stage: int) -> float | None:
        """What a stage may take."""
        return None if self.budget is None else self.budget * SHARES[stage]


def _lengths(trained: int, length: int | str, tune_length: int | str | None) -> tuple[int, int]:
    """N and the length of the training, in tokens."""
    tokens = length_in_tokens(length, trained)
    eighth = tokens // STRETCH
    tuned = (
        (eighth if eighth > trained else tokens)
        if tune_length is None
        else length_in_tokens(tune_length, trained)
    )
    if not trained < tuned <= tokens:
        raise RopewalkError(
            f"trained length {trained}, tuning at {tuned}, length {tokens}: expected them in "
            "this order; give another --tune-length"
        )
    return tokens, tuned


def _require_texts(
    base: Subject,
    asked: Request,
    length: int,
    tuned: int,
    texts: Sequence[Path],
    heldout: Sequence[Path],
) -> None:
    """Raise RopewalkError for texts that are too short for a later stage."""
    train = [Document.read(file, base.tokenizer) for file in texts]
    lengths = Lengths(trained=base.geometry.trained_length, target=tuned)
    require_window(train, FullLength(), lengths, ", or a shorter --tune-length")
    kept = [Document.read(file, base.tokenizer) for file in heldout]
    require_room([stretches(each, length) for each in kept], sum(asked.documents or SIZES[-1]))
