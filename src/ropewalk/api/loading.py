"""load: a model and its extension, from a folder whose method no config says."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.session import AnyExtension, extend_with
from ropewalk.methods.sidecar import SIDECAR
from ropewalk.opening.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ExtendedModel(NamedTuple):
    """A model with its method in force, and the extension that holds it there."""

    model: "PreTrainedModel"
    extension: AnyExtension


def load(folder: str | Path, *, dtype: str = "float32", device: str | None = None) -> ExtendedModel:
    """A checkpoint with the method that its ropewalk.json states.

        model, extension = rw.load("./tuned")

    dtype, device  as on the command line

    Raises RopewalkError for a folder without ropewalk.json, whose config says its method: plain
    transformers loads that; and for what cannot be loaded.
    """
    loaded = open_checkpoint(folder, dtype=dtype, device=device)
    if loaded.method is None:
        raise RopewalkError(
            f"{folder}: no {SIDECAR}, so its config says what it does; expected a folder with one; "
            "load it with transformers: AutoModelForCausalLM.from_pretrained"
        )
    return ExtendedModel(loaded.model, extend_with(loaded.model, loaded.method))
