"""The end of a tuning: measured as it will be saved, written, read back, and only then there."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ropewalk.adapting.study import Study, rounded
from ropewalk.engines.audit import audit_model
from ropewalk.integrations.asserting import assert_encoding
from ropewalk.integrations.folders import patched, saving, write_folder
from ropewalk.integrations.loading import load_model
from ropewalk.integrations.sameness import last_logits, probed_rows, require_same
from ropewalk.integrations.session import extend_with
from ropewalk.opening.shapes import shape_of
from ropewalk.training.tuning.card import tuned_card, won_back
from ropewalk.training.tuning.run import Clock, TuningFolder

LOGITS = "ropewalk_logits.safetensors"
"""ids ``[n]`` and logits of some of their rows, so that anybody can check what was saved."""


def save_tuned(
    study: Study,
    document: dict[str, Any],
    folder: Path,
    run: TuningFolder,
    clock: Clock,
    stored: torch.dtype,
) -> dict[str, Any]:
    """Write the tuned weights as a checkpoint, and complete the document.

    stored  dtype of the weights in the checkpoint: figures are those of the rounded ones

    Raises RopewalkError where what is read back is not what was tuned: nothing is left then.
    """
    model, statement = study.loaded.model, study.statements[-1]
    rounded(model, stored)
    with statement.in_force(model) as working:
        document["cells"] += study.measured(working, study.method, "after", "tuned")
        logits = last_logits(working, study.probe)
    document["won_back"] = won_back(document)
    config = patched(study.loaded.config, statement.patch or {}, statement.remove)
    document["audit"] = audit_model(shape_of(config), study.length)["findings"]

    def fill(draft: Path) -> None:
        saving(torch.nn.Module.to(model, stored), study.loaded.tokenizer)(draft)
        tensors = {"ids": study.probe, "rows": probed_rows(len(study.probe)), "logits": logits}
        save_file(tensors, draft / LOGITS)

    def check(draft: Path) -> None:
        back = load_model(draft)
        if back.method is None:
            assert_encoding(back.model, statement.spec, study.loaded.config)
        else:
            extend_with(back.model, back.method)
        worst = require_same(last_logits(back.model, study.probe), logits, str(folder))
        document["verified"] = {"largest_difference": worst, "tokens": len(study.probe)}
        document["seconds"] = round(clock.used, 1)
        run.keep("result", document)

    write_folder(
        folder,
        fill=fill,
        check=check,
        patch=statement.patch or {},
        remove=statement.remove,
        sidecar=statement.sidecar,
        card=tuned_card(document),
    )
    _clear(run)
    return document


def _clear(run: TuningFolder) -> None:
    """Weights of checkpoints and stages, which nobody needs any more; logs stay."""
    for stage in run.path.glob("stage-*"):
        for large in (*stage.glob("checkpoint-*"), *stage.glob("*.safetensors")):
            shutil.rmtree(large) if large.is_dir() else large.unlink()
