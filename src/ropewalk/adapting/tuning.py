"""A tuning, from words to a checkpoint: measured before, trained, measured after, saved."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.adapting.saving import save_tuned
from ropewalk.adapting.stages import Stages
from ropewalk.adapting.study import Study
from ropewalk.core.extras import require_extra
from ropewalk.data import demo_model
from ropewalk.evaluation.cells import Record
from ropewalk.integrations.folders import CONFIG, require_free
from ropewalk.integrations.loading import load_config
from ropewalk.integrations.restating import stored_dtype
from ropewalk.opening.checkpoints import identity, open_checkpoint
from ropewalk.training.claiming import claimed
from ropewalk.training.tuning.request import TuneRequest
from ropewalk.training.tuning.run import Clock, TuningFolder

TRAINING = "training"
"""Folder of the run inside the checkpoint's."""
RESERVED = 2.0
"""Of the seconds of one measurement and of loading: what follows training, with some to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob:
    """A tuning as it is asked for.

    texts    files to train on
    heldout  files to measure on; without any, the last tenth of each text, not trained on
    out      becomes the checkpoint; ``out/training`` is the run
    budget   seconds, loading, evaluation and saving included
    """

    source: str | Path | None
    request: TuneRequest
    texts: Sequence[str | Path]
    heldout: Sequence[str | Path]
    out: Path
    budget: float | None
    device: str | None

    def run(self, progress: Callable[[str, float], None]) -> dict[str, Any]:
        """The document of ``ropewalk tune``. Raises RopewalkError as ``rw.tune`` does."""
        clock, folder = Clock(time.monotonic(), self.budget), self.out
        require_extra("tune", "accelerate", purpose="fine-tuning")
        if not (folder / TRAINING).is_dir():
            require_free(folder)  # before anything is written into somebody's checkpoint
        loaded = open_checkpoint(self.source, device=self.device)
        stored = stored_dtype(load_config(self.source or demo_model()))
        study = Study.of(loaded, self.request, self.texts, self.heldout)
        run = TuningFolder(folder / TRAINING)
        with claimed(run.path):
            run.claim(study.settings(identity(loaded)))
            if (done := run.found("result")) is not None and (folder / CONFIG).exists():
                return dict(done)
            require_free(folder)
            stages, cells = _trained(study, run, clock, progress)
            document = _document(study, folder, stages, cells)
            return save_tuned(study, document, folder, run, clock, stored)


def _trained(
    study: Study, run: TuningFolder, clock: Clock, progress: Callable[[str, float], None]
) -> tuple[list[dict[str, Any]], list[Record]]:
    """Measure and train: a record of each stage, and what was measured."""
    loading = clock.used
    progress("measuring before", 0.0)
    cells = run.kept("before", study.before)
    measuring = sum(cell["seconds"] or 0.0 for cell in cells) / 2
    stages = Stages(
        study=study,
        run=run,
        clock=clock,
        measuring_seconds=measuring,
        reserve_seconds=RESERVED * (measuring + loading),
        told=progress,
    )
    records, during = stages.train()
    progress("measuring and saving", 1.0)
    return records, [*cells, *during]


def _document(
    study: Study, folder: Path, stages: list[dict[str, Any]], cells: list[Record]
) -> dict[str, Any]:
    """What there is to say before the tuned weights are saved."""
    statement = study.statements[-1]
    return {
        "model": study.loaded.name,
        "method": study.method,
        "length": study.length,
        "trained_length": study.trained_length,
        "checkpoint": str(folder),
        "stated_by": statement.stated_by,
        "reason": statement.reason,
        "engines": dict(statement.engines),
        "trained": study.request.parameters,
        "parameters": study.loaded.model.num_parameters(),
        "stages": stages,
        "steps": sum(each["steps"] for each in stages),
        "tokens": sum(each["tokens"] for each in stages),
        "protocol": study.measuring.run(study.original).setting.protocol.text,
        "original": study.original,
        "cells": cells,
    }
