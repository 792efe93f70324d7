"""The stages of a tuning: each trains the weights that the one before it left."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_model, save_model

from ropewalk.adapting.study import Study
from ropewalk.evaluation.cells import Record
from ropewalk.integrations.asserting import RopewalkCallback
from ropewalk.training.tuning.callbacks import Deadline, EverySteps, Told
from ropewalk.training.tuning.fitting import fit
from ropewalk.training.tuning.request import DEFAULT_STEPS, read_trained
from ropewalk.training.tuning.run import Clock, TuningFolder
from ropewalk.training.tuning.schedule import Schedule
from ropewalk.training.tuning.seams import prove_seams
from ropewalk.training.tuning.timing import step_seconds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "weights.safetensors"
MEASURED_DURING = 3
"""Times that a stage is measured before its end, unless asked otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stages:
    """What the stages of one tuning share.

    measuring_seconds  of one measurement; ``reserve_seconds`` are kept for what follows training
    told               what goes on, and the share of it that is done
    """

    study: Study
    run: TuningFolder
    clock: Clock
    measuring_seconds: float
    reserve_seconds: float
    told: Callable[[str, float], None]

    def train(self) -> tuple[list[dict[str, Any]], list[Record]]:
        """Train the checkpoint's weights, in place, through all stages.

        Returns a record of each stage, and what was measured between steps.
        """
        records, cells = [], []
        for number in range(len(self.study.stages)):
            done = self._stage(number)
            records.append({key: value for key, value in done.items() if key != "cells"})
            cells.extend(done["cells"])
        return records, cells

    def _stage(self, number: int) -> dict[str, Any]:
        folder = self.run.stage(number + 1)
        model, weights = self.study.loaded.model, folder.path / WEIGHTS
        if not weights.exists():
            with self.study.statements[number].in_force(model) as working:
                torch.manual_seed(self.study.request.seed)
                record = self._trained(number, working, folder)
                folder.keep("record", record)
                if working is not model:
                    model.load_state_dict(working.state_dict())
            _write(model, weights)
        else:
            load_model(model, weights)
        found: dict[str, Any] = folder.found("record")
        return found

    def _trained(
        self, number: int, model: "PreTrainedModel", folder: TuningFolder
    ) -> dict[str, Any]:
        study, stage = self.study, self.study.stages[number]
        if stage.steps == 0:
            return self._untrained(number)
        with read_trained(study.request.parameters).installed(model):
            schedule = self._schedule(number, model, folder)
            windows = self.study.windows(number, schedule.steps * schedule.batch)
            prove_seams(model, windows)
            begun = time.monotonic()

            def measure(step: int) -> None:
                when = f"stage {number + 1}, step {step}"
                folder.kept(
                    f"cells-{step}",
                    lambda: study.measured(model, stage.method.text, when, "tuned"),
                )

            steps = fit(
                model,
                windows,
                schedule,
                folder.path,
                (
                    RopewalkCallback(study.statements[number].spec, config=study.loaded.config),
                    EverySteps(self._every(schedule.steps), measure),
                    Told(self._progress(number)),
                    Deadline(self._deadline(number)),
                ),
            )
            trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
        return {
            "method": stage.method.text,
            "length": stage.length,
            "sampler": stage.sampler.name,
            "steps": steps,
            "steps_planned": schedule.steps,
            "window_tokens": windows.tokens,
            "tokens": steps * schedule.batch * windows.tokens,
            "batch": schedule.batch,
            "learning_rate": schedule.learning_rate,
            "parameters_trained": trained,
            "seconds": round(time.monotonic() - begun, 1),
            "cells": self._kept_cells(folder),
        }

    def _untrained(self, number: int) -> dict[str, Any]:
        """The record of a stage that changes the method alone."""
        stage = self.study.stages[number]
        counts = ("steps", "steps_planned", "window_tokens", "tokens", "batch", "learning_rate")
        return {
            "method": stage.method.text,
            "length": stage.length,
            "sampler": stage.sampler.name,
            **dict.fromkeys((*counts, "parameters_trained", "seconds"), 0),
            "cells": [],
        }

    def _schedule(self, number: int, model: "PreTrainedModel", folder: TuningFolder) -> Schedule:
        """As planned once: a run that goes on keeps to it, whatever its budget."""
        parameters = self.study.loaded.model.num_parameters()
        asked = self.study.stages[number].steps

        def steps() -> int:
            most = asked or DEFAULT_STEPS
            if self.clock.budget is None:
                return most
            one = self.study.request.schedule(1, parameters)
            seconds = step_seconds(model, self.study.windows(number, one.batch), one)
            left = len(self.study.stages) - number
            measured = self._times_measured(most) * self.measuring_seconds
            fitting = self.clock.steps(seconds, self.reserve_seconds + measured * left, left)
            return fitting if asked is None else min(asked, fitting)

        return self.study.request.schedule(folder.kept("steps", steps), parameters)

    def _every(self, steps: int) -> int:
        asked = self.study.request.evaluate_every
        return max(1, steps // (MEASURED_DURING + 1)) if asked is None else asked

    def _times_measured(self, steps: int) -> int:
        every = self._every(steps)
        return (steps - 1) // every if every else 0

    def _deadline(self, number: int) -> float:
        """When the stage has to end, budget or not."""
        left = len(self.study.stages) - number
        return time.monotonic() + (self.clock.left - self.reserve_seconds) / left

    def _progress(self, number: int) -> Callable[[int, int, float], None]:
        stages = len(self.study.stages)
        name = f"stage {number + 1}/{stages}, " if stages > 1 else ""
        return lambda step, steps, loss: self.told(
            f"{name}step {step}/{steps}  loss {loss:.3f}", (number + step / steps) / stages
        )

    def _kept_cells(self, folder: TuningFolder) -> list[Record]:
        names = (file.stem for file in folder.path.glob("cells-*.json"))
        in_turn = sorted(names, key=lambda name: int(name.removeprefix("cells-")))
        return [cell for name in in_turn for cell in folder.found(name)]


def _write(model: "PreTrainedModel", file: Path) -> None:
    """All weights, tied ones once; whole or not there."""
    partial = file.with_suffix(".partial")
    save_model(model, str(partial))
    os.replace(partial, file)
