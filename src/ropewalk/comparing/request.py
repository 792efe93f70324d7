"""A comparison as it is asked for: the words of ``compare``, read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.core.errors import RopewalkError
from ropewalk.core.seconds import require_seconds
from ropewalk.core.several import Words, several
from ropewalk.data import demo_book
from ropewalk.evaluation.bos import check_bos
from ropewalk.evaluation.request import Request
from ropewalk.evaluation.tasks.retrieval import TRIALS
from ropewalk.ranks.ranks import Ranks

SEVERAL = ("methods", "lengths", "modes", "lines", "tasks")
"""Words of which there may be one or several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What samples and texts are made of, in the words of ``ropewalk compare --help``."""

    texts: Sequence[Path] = ()
    trials: int = TRIALS
    bos: str = "auto"
    questions: Path | None = None
    evaluator: str | Path | None = None

    @property
    def files(self) -> Sequence[Path]:
        """The texts, or the bundled book."""
        return self.texts or [demo_book()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedWords:
    """A running server that is asked instead of a model here, as ``verify --served`` names it."""

    url: str
    engine: str | None
    seconds: float

    @classmethod
    def of(cls, url: str | None, engine: str | None, seconds: float) -> "ServedWords | None":
        """None without a server. Raises RopewalkError for an engine without one."""
        if url is None and engine is not None:
            raise RopewalkError(f"engine {engine} without a server: expected its URL too")
        return None if url is None else cls(url=url, engine=engine, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """A comparison as it is asked for.

    place      of the checkpoint; None for the demo model; or a loaded model
    tokenizer  of a loaded model
    out        the run folder; None for one named after the model
    budget     seconds; None for no limit, or that of a choice
    served     the server that is asked; None for a model in this process
    ranks      that read each sequence together; None for this process alone
    """

    place: str | Path | nn.Module | None
    tokenizer: Any
    request: Request
    materials: Materials
    dtype: str
    device: str | None
    budget: float | None
    out: Path | None
    served: ServedWords | None = None
    ranks: Ranks | None = None

    @classmethod
    def of(
        cls,
        place: str | Path | nn.Module | None,
        *,
        tokenizer: Any = None,
        texts: Words = (),
        trials: int = TRIALS,
        bos: str = "auto",
        questions: str | Path | None = None,
        evaluator: str | Path | None = None,
        dtype: str = "float32",
        device: str | None = None,
        budget: float | None = None,
        out: str | Path | None = None,
        served: ServedWords | None = None,
        **request: Any,
    ) -> "CompareRequest":
        """From the words of ``compare``. Raises RopewalkError for a mistyped one."""
        words: dict[str, Any] = {name: several(request.pop(name, ())) for name in SEVERAL}
        asked = Request(**words, **request)
        asked.check()
        check_bos(bos)
        require_seconds(budget)
        return cls(
            place=place,
            tokenizer=tokenizer,
            request=asked,
            materials=Materials(
                texts=tuple(map(Path, several(texts))),
                trials=trials,
                bos=bos,
                questions=None if questions is None else Path(questions),
                evaluator=evaluator,
            ),
            dtype=dtype,
            device=device,
            budget=budget,
            out=None if out is None else Path(out),
            served=served,
        )
