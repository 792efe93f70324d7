"""How long a step takes, before any is done."""

import time

from torch import nn

from ropewalk.integrations.placement import input_device
from ropewalk.training.tuning.schedule import Schedule
from ropewalk.training.tuning.windows import TextWindows

OVERHEAD = 1.1
"""Of a step over its passes: optimizer, logging, checkpoints."""


def step_seconds(model: nn.Module, windows: TextWindows, schedule: Schedule) -> float:
    """Forward and backward of one step's windows; nothing is learned.

    The first pass of a process is slower than the rest, so the second one is timed.
    """
    device = input_device(model)
    batch = windows.batch([windows[number] for number in range(schedule.at_once)])
    inputs = {key: value.to(device) for key, value in batch.items()}
    model.train()
    for _ in range(2):
        started = time.monotonic()
        with schedule.autocast(device):
            loss = model(**inputs, use_cache=False).loss
        loss.backward()
        loss.detach().item()
        seconds = time.monotonic() - started
    model.zero_grad()
    return OVERHEAD * seconds * schedule.batch / schedule.at_once
