"""The same weights under another config: the stock model of a method that a config can say."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.folders import patched
from ropewalk.integrations.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def restated(
    model: "PreTrainedModel", patch: Mapping[str, Any], remove: Sequence[str] = ()
) -> "PreTrainedModel":
    """A model of the same class and weights, under the config with these keys.

    patch, remove  as in ``folders.Contents``

    Its weights are its own. Raises RopewalkError for a config that the library does not take.
    """
    described = patched(model.config.to_dict(), patch, remove)
    try:
        with quiet():
            config = type(model.config).from_dict(described)
            new: Any = type(model).from_pretrained(
                None, config=config, state_dict=_copied(model), dtype=model.dtype
            )
    except Exception as error:  # any type may come from the checks of 800 classes
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise RopewalkError(
            f"{model.config.model_type}: its class does not take the config of this method "
            f"({type(error).__name__}: {reason})"
        ) from error
    place: Any = model.device  # the library's decorator hides what .to takes
    on_device: PreTrainedModel = new.to(place).eval()
    return on_device


def _copied(model: "PreTrainedModel") -> dict[str, torch.Tensor]:
    """Its tensors: the library would take them over as they are."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def stored_dtype(config: Mapping[str, Any]) -> torch.dtype:
    """In which dtype a checkpoint's config says that its weights are; float32 where it does not."""
    stated = config.get("dtype") or config.get("torch_dtype")
    return _DTYPES.get(str(stated).removeprefix("torch."), torch.float32)
