"""tune: a checkpoint fine-tuned under a method, and saved as one that says so."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ropewalk.adapting.saving import save_tuned
from ropewalk.adapting.stages import Stages
from ropewalk.adapting.study import Study
from ropewalk.api.checkpoints import identity, open_checkpoint
from ropewalk.core.extras import require_extra
from ropewalk.data import demo_model
from ropewalk.integrations.folders import CONFIG, require_free
from ropewalk.integrations.loading import load_config
from ropewalk.integrations.restating import stored_dtype
from ropewalk.training.tuning.request import TuneRequest
from ropewalk.training.tuning.run import Clock, TuningFolder

TRAINING = "training"
"""Folder of the run inside the checkpoint's."""
RESERVED = 2.0
"""Of the seconds of one measurement and of loading: what follows training, with some to spare."""


def tune(
    source: str | Path | None,
    method: str | Sequence[str],
    length: int | str | Sequence[int | str],
    *,
    texts: Sequence[str | Path],
    out: str | Path,
    heldout: Sequence[str | Path] = (),
    budget: float | None = None,
    device: str | None = None,
    progress: Callable[[str, float], None] = lambda work, share: None,
    **request: Any,
) -> dict[str, Any]:
    """Fine-tune a checkpoint under a method at a length, and save it as one that states the method.

        rw.tune("./model", "yarn:factor=4", 8192, texts=["books.txt"], out="./model-8k")

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    method    a spec, or one for each stage; factors refer to ``source``
    length    N in tokens, or in trained lengths as ``4x``; or one for each stage
    texts     files to train on
    out       becomes the checkpoint; ``out/training`` is the run, which goes on where it stopped
    heldout   files to measure on; without any, the last tenth of each text, which is not trained on
    budget    seconds, loading, evaluation and saving included: as many steps as fit
    progress  told what goes on, and the share of it that is done
    request   the other flags of ``ropewalk tune --help``: ``TuneRequest``

    Returns what ``ropewalk tune --json`` prints. Raises RopewalkError for bad input, before
    anything is trained; where a loss is not finite; and where what was saved does not read back as
    what was tuned: then no checkpoint is left.
    """
    clock, folder = Clock(time.monotonic(), budget), Path(out)
    asked = TuneRequest(method=method, length=length, **request)
    require_extra("tune", "accelerate", purpose="fine-tuning")
    if not (folder / TRAINING).is_dir():
        require_free(folder)  # before anything is written into somebody's checkpoint
    loaded = open_checkpoint(source, device=device)
    stored = stored_dtype(load_config(source or demo_model()))
    study = Study.of(loaded, asked, texts, heldout)
    run = TuningFolder(folder / TRAINING)
    run.claim(study.settings(identity(loaded)))
    if (done := run.found("result")) is not None and (folder / CONFIG).exists():
        return dict(done)
    require_free(folder)
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
    document = {
        "model": loaded.name,
        "method": study.method,
        "length": study.length,
        "trained_length": study.trained_length,
        "checkpoint": str(folder),
        "stated_by": study.statements[-1].stated_by,
        "reason": study.statements[-1].reason,
        "engines": dict(study.statements[-1].engines),
        "trained": asked.parameters,
        "parameters": loaded.model.num_parameters(),
        "stages": records,
        "steps": sum(each["steps"] for each in records),
        "tokens": sum(each["tokens"] for each in records),
        "protocol": study.measuring.run(study.original).setting.protocol.text,
        "original": study.original,
        "cells": [*cells, *during],
    }
    return save_tuned(study, document, folder, run, clock, stored)
