"""What ``compare`` measures, from words: a model, a run, and what was chosen without a word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.api.checkpoints import (
    CheckpointSource,
    ModelInMemory,
    identity,
    in_memory,
    open_checkpoint,
)
from ropewalk.api.longppl import long_perplexity
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_book
from ropewalk.evaluation.bos import check_bos
from ropewalk.evaluation.choosing import Choice, choose, open_to_choice
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.folders import default_run_folder
from ropewalk.evaluation.jobs import ModelSource
from ropewalk.evaluation.protocols.table import protocol_named
from ropewalk.evaluation.request import Request, default_methods, read_tasks
from ropewalk.evaluation.run import Run
from ropewalk.evaluation.tasks.longppl import LONGPPL
from ropewalk.evaluation.tasks.made import retrieval_tasks
from ropewalk.evaluation.tasks.retrieval import TRIALS
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import native_of, own_of, trained_length_of

Words = str | Path | Sequence[str | Path]
SEVERAL = ("methods", "lengths", "modes", "lines", "tasks")
"""Words of which there may be one or several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A model and what is measured of it.

    choice  of methods and lengths, where they were left open
    timed   gives the seconds of a token of the model, by a pass
    """

    source: ModelSource
    run: Run
    run_dir: Path
    choice: Choice | None
    timed: Callable[[], CostModel]

    def budget(self, asked: float | None) -> float | None:
        """Seconds, as asked for, or those of the choice."""
        return self.choice.budget if asked is None and self.choice is not None else asked


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
class Asked:
    """A comparison as it is asked for.

    place      of the checkpoint; None for the demo model; or a loaded model
    tokenizer  of a loaded model
    out     the run folder; None for one named after the model
    budget  seconds; None for no limit, or that of a choice
    """

    place: str | Path | nn.Module | None
    tokenizer: Any
    request: Request
    materials: Materials
    dtype: str
    device: str | None
    budget: float | None
    out: Path | None

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
        **request: Any,
    ) -> "Asked":
        """From the words of ``compare``. Raises RopewalkError for a mistyped one."""
        several: dict[str, Any] = {name: _several(request.pop(name, ())) for name in SEVERAL}
        asked = Request(**several, **request)
        asked.check()
        check_bos(bos)
        return cls(
            place=place,
            tokenizer=tokenizer,
            request=asked,
            materials=Materials(
                texts=tuple(map(Path, _several(texts))),
                trials=trials,
                bos=bos,
                questions=None if questions is None else Path(questions),
                evaluator=evaluator,
            ),
            dtype=dtype,
            device=device,
            budget=budget,
            out=None if out is None else Path(out),
        )


def prepared(asked: Asked) -> Prepared:
    """A checkpoint loaded, and its run. Raises RopewalkError for bad input."""
    request, materials = asked.request, asked.materials
    loaded, source = _opened(asked)
    dtype = str(next(loaded.model.parameters()).dtype).removeprefix("torch.")
    setting = _setting(loaded, request, materials, dtype)
    run_dir = asked.out or default_run_folder(loaded.name, request.protocol)
    scorer = TransformersScorer(loaded.model)
    own, choice = request, None
    if asked.place is not None and asked.budget is None and open_to_choice(request):
        choice = _choice(run_dir, loaded, request, setting, scorer)
        own = choice.request
    run = run_of(loaded.model, own, native=own_of(loaded), **setting)
    if LONGPPL.name in read_tasks(request.tasks):
        by = loaded
        if materials.evaluator is not None:
            by = open_checkpoint(materials.evaluator, dtype=asked.dtype, device=asked.device)
        run = run.with_task(long_perplexity(run.setting, by, materials.files))
    return Prepared(
        source=source,
        run=run,
        run_dir=run_dir,
        choice=choice,
        timed=lambda: run.cost_model(scorer),
    )


def _opened(asked: Asked) -> tuple[LoadedModel, ModelSource]:
    """The checkpoint, and how a process comes by it."""
    place, dtype, device = asked.place, asked.dtype, asked.device
    if isinstance(place, nn.Module):
        held = in_memory(place, asked.tokenizer)
        return held, ModelInMemory(held.model)
    loaded = open_checkpoint(place, dtype=dtype, device=device)
    source = CheckpointSource(place=place, dtype=dtype, device=device, loaded=loaded)
    return loaded, source


def run_of(
    model: nn.Module, request: Request, native: Encoding | None = None, **setting: Any
) -> Run:
    """The run of a request of a model; ``native`` is what its config says, unless it is given."""
    stated, trained = native_of(model), trained_length_of(model)
    geometry = replace(stated.geometry, trained_length=trained)
    return Run.of(request, geometry, native or stated, **setting)


def opened(protocol: str, tokenizer: Any, bos: str) -> dict[str, Any]:
    """The ids that windows of a protocol begin with, and their text; neither without a BOS."""
    if tokenizer is None:
        if bos == "always":
            raise RopewalkError("bos always: expected a tokenizer, whose BOS it is")
        return {"opening": (), "bos": None}
    opening = protocol_named(protocol).opening(tokenizer, bos)
    return {"opening": opening, "bos": tokenizer.decode(list(opening)) if opening else None}


def _setting(
    loaded: LoadedModel, request: Request, materials: Materials, dtype: str
) -> dict[str, Any]:
    """What ``run_of`` needs beside a request: texts and tasks, read and made once."""
    tokenizer = loaded.require_tokenizer()
    begins = opened(request.protocol, tokenizer, materials.bos)
    return {
        "name": loaded.name,
        "weights": identity(loaded),
        "documents": tuple(
            Document.read(text, tokenizer, begins["opening"]) for text in materials.files
        ),
        "others": retrieval_tasks(
            request.tasks,
            tokenizer,
            materials.files,
            trials=materials.trials,
            bos=materials.bos,
            questions=materials.questions,
        ),
        "dtype": dtype,
        "bos": begins["bos"],
    }


def _choice(
    run_dir: Path,
    loaded: LoadedModel,
    request: Request,
    setting: dict[str, Any],
    scorer: TransformersScorer,
) -> Choice:
    """That of the folder, or a new one by a timed pass."""
    kept = Choice.kept(run_dir, request)
    if kept is not None:
        return kept

    def run(asked: Request) -> Run:
        return run_of(loaded.model, asked, native=native, **setting)

    native = own_of(loaded)
    methods = default_methods(native)
    shortest = run(replace(request, methods=methods[:1], lengths=request.lengths or ("1x",)))
    return choose(request, methods, run, shortest.cost_model(scorer))


def _several(words: Any) -> tuple[Any, ...]:
    """One word is one of several."""
    return (words,) if isinstance(words, str | int | Path) else tuple(words)
