"""A checkpoint as commands name it: where it lies, its dtype and its device, in words."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.integrations.feeding import WHOLE, Feeding
from ropewalk.integrations.loading import LoadedModel, fingerprint, load_model
from ropewalk.integrations.placement import Spread
from ropewalk.integrations.session import Session
from ropewalk.integrations.wrappers import measured
from ropewalk.training.decoder import register

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
_VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


def open_checkpoint(
    source: str | Path | None, *, dtype: str = "float32", device: str | None = None
) -> LoadedModel:
    """The model of a transformers folder, a .gguf file or a hub id; None for the demo model.

    device  as torch writes it: cpu, cuda, cuda:1; ``auto``: over all devices, by accelerate;
            None for CUDA where there is one

    Raises RopewalkError for an unknown dtype, a device that is not there, or a source that
    cannot be loaded.
    """
    if dtype not in DTYPES:
        raise RopewalkError(f"dtype {dtype}: expected one of {', '.join(DTYPES)}")
    place = None if device is None else _place(device)
    register()
    return load_model(source or demo_model(), dtype=DTYPES[dtype], device=place)


def in_memory(model: nn.Module, tokenizer: PreTrainedTokenizerBase | None) -> LoadedModel:
    """A model that is loaded already, PEFT's too, as a checkpoint.

    Raises RopewalkError for anything but a model of transformers, and as ``measured`` does.
    """
    inner = measured(model)
    if not isinstance(inner, PreTrainedModel):
        raise RopewalkError(
            f"{type(inner).__name__}: expected a model of the transformers library, or its place"
        )
    return LoadedModel(
        model=inner,
        tokenizer=tokenizer,
        name=type(inner).__name__,
        config=inner.config.to_dict(),
        fingerprint=fingerprint(inner),
    )


def identity(loaded: LoadedModel) -> str:
    """Weights and what they run under: the same ones under another config are another model."""
    config = {key: value for key, value in loaded.config.items() if key not in _VOLATILE}
    text = loaded.fingerprint + json.dumps(config, sort_keys=True, default=str)
    if loaded.method is not None:
        text += loaded.method.canonical
    return hashlib.sha256(text.encode()).hexdigest()


def _place(name: str) -> torch.device | Spread:
    if name == "auto":
        return Spread()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch built without CUDA raises AssertionError.
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise RopewalkError(
            f"device {name}: torch cannot use it ({reason}); expected auto, cpu, or cuda or "
            "cuda:N where there is such a device"
        ) from error
    return device


@dataclass(frozen=True, slots=True)
class ModelInMemory:
    """A model that is loaded already, as a source of this process alone."""

    model: nn.Module

    def open(self) -> Session:
        return Session(self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """A checkpoint by its place, as a source of any process.

    loaded  the checkpoint where this process has it already; not sent to others
    """

    place: str | Path | None
    dtype: str
    device: str | None
    loaded: LoadedModel | None = field(default=None, compare=False, repr=False)

    def open(self) -> Session:
        """Raises RopewalkError as ``open_checkpoint`` does."""
        return self.open_fed(WHOLE)

    def open_fed(self, feeding: Feeding) -> Session:
        """A session whose passes are fed so, on a rank say. Raises RopewalkError as ``open``."""
        loaded = self.loaded or open_checkpoint(self.place, dtype=self.dtype, device=self.device)
        return Session(loaded.model, loaded.method, feeding)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self.place, self.dtype, self.device)


def _elsewhere(place: str | Path | None, dtype: str, device: str | None) -> CheckpointSource:
    return CheckpointSource(place=place, dtype=dtype, device=device)
