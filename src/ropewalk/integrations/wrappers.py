"""The library's model inside a compiled, parallel or adapted one."""

from typing import Any

from torch import nn

from ropewalk.core.errors import RopewalkError


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile``, data parallel wrappers and PEFT; itself without any.

    LoRA and its like stay in it: they live in its own modules.
    """
    while True:
        inner: Any = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__.endswith("DataParallel"):
            inner = model.module
        if inner is None and hasattr(model, "get_base_model"):
            get: Any = model.get_base_model
            inner = get()
        if not isinstance(inner, nn.Module) or inner is model:
            return model
        model = inner


def measured(model: nn.Module) -> nn.Module:
    """``unwrapped``, of a model that is to be measured.

    Raises RopewalkError for an adapter that prepends learned tokens: they are in the wrapper, and
    a measurement of the model inside would silently be one without them.
    """
    found = unwrapped(model)
    adapter = getattr(model, "active_peft_config", None)
    if getattr(adapter, "is_prompt_learning", False):
        kind = getattr(getattr(adapter, "peft_type", None), "value", "prompt learning")
        raise RopewalkError(
            f"an adapter of type {kind} puts learned tokens before each text, which a measurement "
            "by position would leave out: expected LoRA or another adapter of weights, or the "
            "model without an adapter"
        )
    return found
