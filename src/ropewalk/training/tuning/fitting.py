"""One stage of fine-tuning by the library's own Trainer: killed at any moment, it goes on.

    folder/checkpoint-K/        what is trained (safetensors), and the Trainer's own state of step K
    folder/checkpoint-K/whole   written last: a checkpoint without it was cut short and is not read
    folder/log.json             loss, gradient norm and learning rate of each step

Windows and rates are functions of the step, so a run that was killed ends with the same weights.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from ropewalk.core.extras import require_extra
from ropewalk.storage.files import write_whole
from ropewalk.training.tuning.schedule import Schedule
from ropewalk.training.tuning.tuner import WHOLE, Tuner
from ropewalk.training.tuning.windows import TextWindows

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LOG = "log.json"


def fit(
    model: "PreTrainedModel",
    windows: TextWindows,
    schedule: Schedule,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> int:
    """Train the parameters that ask for a gradient, from the last whole checkpoint in ``folder``.

    Returns the steps done: fewer than asked for where a callback stopped the training. Raises
    RopewalkError where a loss or a gradient is not finite: the last good checkpoint stays.
    """
    require_extra("tune", "accelerate", purpose="fine-tuning")
    folder.mkdir(parents=True, exist_ok=True)
    caching = model.config.use_cache
    trainer = Tuner(
        schedule,
        model=model,
        args=_arguments(schedule, folder, model.device),
        train_dataset=windows,
        data_collator=windows.batch,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    last = last_whole(folder)
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    finally:
        model.config.use_cache = caching  # the library's own Trainer switches it off
    history = [each for each in trainer.state.log_history if "loss" in each]
    write_whole(folder / LOG, (json.dumps(history, indent=1) + "\n").encode())
    return int(trainer.state.global_step)


def last_whole(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end; those that were not are deleted."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of)
    whole = [each for each in found if (each / WHOLE).is_file()]
    for cut_short in set(found) - set(whole):
        shutil.rmtree(cut_short)
    return whole[-1] if whole else None


def step_of(checkpoint: Path) -> int:
    """Steps that were done when it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def _arguments(schedule: Schedule, folder: Path, device: "torch.device") -> TrainingArguments:
    """In the library's words."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.at_once,
        gradient_accumulation_steps=schedule.batch // schedule.at_once,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": schedule.steps // 4, "decay_type": "1-sqrt"},
        warmup_steps=min(20, schedule.steps // 10),
        weight_decay=0.0,
        adam_beta2=0.95,
        save_steps=schedule.save_every,
        save_total_limit=2,  # while one is written, the one before it is whole
        logging_steps=1,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        seed=schedule.seed,
        use_cpu=device.type == "cpu",
    )
