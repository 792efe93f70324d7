"""Where a run's figures came from, left in its folder: the model's config, machine and commit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ropewalk.integrations.placement import input_device
from ropewalk.integrations.session import config_of
from ropewalk.storage.files import write_whole
from ropewalk.storage.origins import sign

CONFIG = "config.json"


def document_origin(run_dir: Path, model: nn.Module) -> None:
    """Write the config of the model, as it ran, and sign the folder. RopewalkError if it cannot."""
    document_config(run_dir, config_of(model), _accelerator(input_device(model)))


def document_config(run_dir: Path, config: Mapping[str, Any], accelerator: str | None) -> None:
    """The same of a model that runs elsewhere."""
    stated = {key: value for key, value in config.items() if key != "_name_or_path"}
    text = json.dumps(stated, indent=2, sort_keys=True, default=str) + "\n"
    write_whole(run_dir / CONFIG, text.encode())
    sign(run_dir, accelerator)


def _accelerator(device: torch.device) -> str | None:
    if device.type == "cpu":
        return None
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
