"""A checkpoint verified: by this process, by ranks together, or on the workers of an executor."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.executor import Executor, SerialExecutor, ranks_of
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.ranked.leading import LeadingMethods, LeadingPredictor, opened
from ropewalk.opening.checkpoints import CheckpointSource, identity, open_checkpoint
from ropewalk.opening.subjects import verify_subject
from ropewalk.ranks.ranks import Ranks
from ropewalk.storage.folders import Folder
from ropewalk.storage.version import code_version
from ropewalk.verification.listening import Document, Listener, NoStore, Store
from ropewalk.verification.subject import Subject
from ropewalk.verification.verdicts import Record, Tolerances

Measure = Callable[[tuple[str, Tolerances]], list[Record]]
Begin = Callable[[Ranks | None], Measure]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyJob:
    """A checkpoint to verify. Can be sent to another process.

    length  of the sequence, in tokens or trained lengths; None for the default
    """

    source: str | Path | None
    length: int | str | None = None
    dtype: str = "float32"
    device: str | None = None

    def opened(self, ranks: Ranks | None = None) -> tuple[LoadedModel, Subject]:
        """The checkpoint, and as verification takes it. RopewalkError if it cannot be."""
        loaded = open_checkpoint(self.source, dtype=self.dtype, device=self.device)
        subject = verify_subject(loaded.model, self.length, loaded.name, loaded.method)
        if ranks is None:
            return loaded, subject
        place = CheckpointSource(
            place=self.source, dtype=self.dtype, device=self.device, loaded=loaded
        )
        shared = opened(place, ranks)
        predictor = LeadingPredictor(
            model=loaded.model,
            name=loaded.name,
            trained_length=subject.predictor.trained_length,
            shared=shared,
        )
        return loaded, replace(subject, predictor=predictor, methods=LeadingMethods(shared))

    def document(
        self,
        methods: Sequence[str],
        listener: Listener,
        out: str | Path | None,
        ranks: Ranks | None,
        executor: Executor | None,
    ) -> Document:
        """Of the methods. RopewalkError as ``rw.verify``, and for ranks beside an executor."""
        elsewhere = self._elsewhere(ranks, executor)
        loaded, subject = self.opened(ranks)
        size = _processes(ranks, executor)
        together = {} if size == 1 else {"ranks": size}
        store = _store(out, loaded, {**subject.facts, **together})
        return {**subject.verified(methods, listener, store, elsewhere), **together}

    def _elsewhere(self, ranks: Ranks | None, executor: Executor | None) -> Any:
        """What measures on the workers of an executor; None for this process."""
        if isinstance(executor, SerialExecutor | None):
            return None
        if ranks is not None:
            raise RopewalkError(
                f"an executor beside {ranks.size} ranks, which read each sequence together: "
                "expected one of the two"
            )
        return partial(_on_workers, executor, partial(_verifier, self))


def _processes(ranks: Ranks | None, executor: Executor | None) -> int:
    """That read each sequence together."""
    return ranks_of(executor) if ranks is None else ranks.size


def _store(out: str | Path | None, loaded: LoadedModel, facts: dict[str, Any]) -> Store:
    if out is None:
        return NoStore()
    weights = {"command": "verify", "version": code_version(), "weights": identity(loaded)}
    return Folder.open(Path(out), {**weights, **facts})


def _on_workers(
    executor: Executor, begin: Begin, methods: Sequence[str], tolerances: Tolerances
) -> Iterator[tuple[str, list[Record]]]:
    tasks = [(method, tolerances) for method in methods]
    for (method, _), records in executor.each(begin, tasks):
        yield method, records


def _verifier(job: VerifyJob, ranks: Ranks | None = None) -> Measure:
    """Measures one method after the other in this process, on a model that stays open."""
    _, subject = job.opened(ranks)
    return lambda task: subject.records(*task)
