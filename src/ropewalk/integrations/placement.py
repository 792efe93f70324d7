"""A model over several devices, by accelerate: as many layers on each as fit, the rest in memory.

Source: accelerate, ``dispatch_model`` (``device_map="auto"`` of transformers). Weights that wait
elsewhere are put on a device for each call, and stand as empty (meta) tensors in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Over all devices there are.

    max_memory  as accelerate takes it: by device (a number, or "cpu"), bytes or text like "10GiB";
                None for all that is free
    """

    max_memory: Mapping[int | str, int | str] | None = None

    def arguments(self) -> dict[str, Any]:
        """For ``from_pretrained``. Raises RopewalkError where accelerate is missing."""
        require_extra("spread", "accelerate", purpose="device auto")
        given = {} if self.max_memory is None else {"max_memory": dict(self.max_memory)}
        return {"device_map": "auto", **given}


def input_device(model: nn.Module) -> torch.device:
    """Where a model takes its ids: of a spread one, where its embeddings are computed."""
    take_in = getattr(model, "get_input_embeddings", lambda: None)
    hook = getattr(take_in(), "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    if device is not None:
        return torch.device(device)
    return next((each.device for each in model.parameters()), _CPU)


def placed_ids(model: nn.Module, ids: Tensor) -> Tensor:
    """Ids where a model takes them.

    Raises RopewalkError for one without an embedding, which on a GPU would end the process.
    """
    take_in = getattr(model, "get_input_embeddings", lambda: None)
    known = getattr(take_in(), "num_embeddings", None)
    if known is not None and ids.numel() and int(ids.max()) >= known:
        raise RopewalkError(
            f"token id {int(ids.max())}: the model has embeddings for ids below {known}; expected "
            "the tokenizer that it was trained with; put its files into the folder"
        )
    return ids.to(input_device(model))


def weight_of(module: nn.Module) -> Tensor:
    """Its weight as it is now, fetched where it waits elsewhere between calls of the module.

    Raises RopewalkError for one that is nowhere.
    """
    weight: Any = module.weight
    if isinstance(weight, Tensor) and weight.is_meta and hasattr(module, "_hf_hook"):
        from accelerate.utils import align_module_device

        with align_module_device(module):
            weight = module.weight
    if not isinstance(weight, Tensor) or weight.is_meta:
        raise RopewalkError(
            f"{type(module).__name__} has no weights to divide by: expected a model that is "
            "loaded; extend it once its weights are there"
        )
    return weight


def whole_state(model: nn.Module) -> Mapping[str, Tensor]:
    """The saved tensors by name, those that wait elsewhere among them."""
    state = model.state_dict()
    if not any(tensor.is_meta for tensor in state.values()):
        return state
    from accelerate.utils.modeling import get_state_dict_offloaded_model

    whole: Mapping[str, Tensor] = get_state_dict_offloaded_model(model)
    return whole
