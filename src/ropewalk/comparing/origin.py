"""Where a run's figures came from, left in its folder: the model's config, machine and commit."""

import json
from pathlib import Path

import torch
from torch import nn

from ropewalk.integrations.placement import input_device
from ropewalk.integrations.session import config_of
from ropewalk.storage.files import write_whole
from ropewalk.storage.origins import sign

CONFIG = "config.json"


def document_origin(run_dir: Path, model: nn.Module) -> None:
    """Write the config of the model, as it ran, and sign the folder. RopewalkError if it cannot."""
    config = {key: value for key, value in config_of(model).items() if key != "_name_or_path"}
    text = json.dumps(config, indent=2, sort_keys=True, default=str) + "\n"
    write_whole(run_dir / CONFIG, text.encode())
    sign(run_dir, _accelerator(input_device(model)))


def _accelerator(device: torch.device) -> str | None:
    if device.type == "cpu":
        return None
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
