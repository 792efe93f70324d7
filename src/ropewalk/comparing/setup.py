"""What ``compare`` measures, from words: a model, a run, and what was chosen without a word."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.cluster.placing import Demand
from ropewalk.comparing.demands import demand_of
from ropewalk.comparing.longppl import long_perplexity
from ropewalk.comparing.origin import document_origin
from ropewalk.comparing.request import CompareRequest, Materials
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
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
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.ranked.leading import RankedSource
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import native_of, own_of, trained_length_of
from ropewalk.opening.checkpoints import (
    CheckpointSource,
    ModelInMemory,
    identity,
    in_memory,
    open_checkpoint,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A model and what is measured of it.

    choice  of methods and lengths, where they were left open
    timed   gives the seconds of a token of the model, by a pass
    demand  memory of the weights and of each cell
    sign    leaves in a run folder where its figures came from
    """

    source: ModelSource
    run: Run
    run_dir: Path
    choice: Choice | None
    timed: Callable[[], CostModel]
    demand: Demand
    sign: Callable[[Path], None]

    def budget(self, asked: float | None) -> float | None:
        """Seconds, as asked for, or those of the choice."""
        return self.choice.budget if asked is None and self.choice is not None else asked


def set_up(asked: CompareRequest) -> Setup:
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
    return Setup(
        source=source,
        run=run,
        run_dir=run_dir,
        choice=choice,
        timed=lambda: run.cost_model(scorer),
        demand=demand_of(loaded.model),
        sign=lambda folder: document_origin(folder, loaded.model),
    )


def _opened(asked: CompareRequest) -> tuple[LoadedModel, ModelSource]:
    """The checkpoint, and how a process comes by it."""
    place, dtype, device = asked.place, asked.dtype, asked.device
    if isinstance(place, nn.Module):
        if asked.ranks is not None:
            raise RopewalkError(
                "a loaded model over ranks: expected the place of a checkpoint, which every rank "
                "can open"
            )
        held = in_memory(place, asked.tokenizer)
        return held, ModelInMemory(held.model)
    loaded = open_checkpoint(place, dtype=dtype, device=device)
    source = CheckpointSource(place=place, dtype=dtype, device=device, loaded=loaded)
    if asked.ranks is None:
        return loaded, source
    return loaded, RankedSource(source=source, ranks=asked.ranks)


def run_of(
    model: nn.Module, request: Request, native: Encoding | None = None, **setting: Any
) -> Run:
    """The run of a request of a model; ``native`` is what its config says, unless it is given."""
    stated, trained = native_of(model), trained_length_of(model)
    geometry = replace(stated.geometry, trained_length=trained)
    return Run.of(request, geometry, native or stated, **setting)


def beginnings(protocol: str, tokenizer: Any, bos: str) -> dict[str, Any]:
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
    return {
        **material(loaded.require_tokenizer(), request, materials),
        "name": loaded.name,
        "weights": identity(loaded),
        "dtype": dtype,
    }


def material(tokenizer: Any, request: Request, materials: Materials) -> dict[str, Any]:
    """Texts and tasks of a run, in the tokens of ``tokenizer``, and how they begin."""
    begins = beginnings(request.protocol, tokenizer, materials.bos)
    return {
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
