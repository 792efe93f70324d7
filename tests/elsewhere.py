"""A device that is not the CPU, for machines that have none: mixing it with CPU tensors raises.

A tensor ``Elsewhere`` holds an ordinary tensor and says that it lies on the meta device. Inside
``with other_device():`` every operation runs on what is held, after a check that no argument
lies here beside others that do not (single numbers and indices may, as on CUDA).
"""

from contextlib import contextmanager
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
COPYING = ("aten.copy_.default", "aten._to_copy.default")
INDEXING = (
    "aten.index.Tensor",
    "aten.index_put.default",
    "aten.index_put_.default",
    "aten._index_put_impl_.default",
)


class Elsewhere(torch.Tensor):
    """``held``, as a tensor of the other device."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=DEVICE
        )

    def __init__(self, held):
        self.held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})

    def tolist(self):
        return self.held.tolist()

    def as_subclass(self, kind):
        if kind is torch.Tensor:
            return Elsewhere(self.held)
        both = type(kind.__name__, (kind, Elsewhere), {})
        return both(self.held)


class _Checked(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


@contextmanager
def other_device():
    """The other device exists while the block runs."""
    make = torch.tensor

    def tensor(*args, device=None, **kwargs):
        made = make(*args, **kwargs)
        return Elsewhere(made) if device is not None and torch.device(device) == DEVICE else made

    with _Checked(), mock.patch.object(torch, "tensor", tensor):
        yield


def moved(model: nn.Module) -> nn.Module:
    """The model with its parameters and buffers on the other device."""
    for module in model.modules():
        for name, value in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(Elsewhere(value.data), requires_grad=False))
        for name, value in module.named_buffers(recurse=False):
            module._buffers[name] = Elsewhere(value)
    return model


def _run(operation, args, kwargs):
    name = str(operation)
    away = any(isinstance(x, Elsewhere) for x in tree_leaves((args, kwargs)))
    # An indexed tensor on the other device takes indices from here; not the other way round.
    indexed = name in INDEXING and isinstance(args[0], Elsewhere)
    checked = (args[0], args[2:]) if indexed else (args, kwargs)
    here = [x for x in tree_leaves(checked) if _is_array(x) and not isinstance(x, Elsewhere)]
    if away and here and name not in COPYING:
        raise RuntimeError(f"{name}: tensors on two devices, one of {tuple(here[0].shape)} here")
    if name == "aten._fused_sdp_choice.default":
        return 0  # plain products: the fused kernels are those of real devices
    asked = kwargs.get("device")
    inner = {**tree_map(_held, kwargs), **({"device": torch.device("cpu")} if asked else {})}
    result = operation(*tree_map(_held, args), **inner)
    if name == "aten._local_scalar_dense.default":
        return result
    if "out" in kwargs:
        return kwargs["out"]
    if isinstance(args[0] if args else None, torch.Tensor) and _in_place(operation):
        return args[0]
    goes_away = torch.device(asked) == DEVICE if asked else away
    return tree_map(_away, result) if goes_away else result


def _is_array(x) -> bool:
    """Numbers alone may lie anywhere."""
    return isinstance(x, torch.Tensor) and x.ndim > 0 and x.numel() > 0


def _in_place(operation) -> bool:
    return operation._schema.name.endswith("_") and not operation._schema.name.endswith("__")


def _held(x):
    if isinstance(x, Elsewhere):
        return x.held
    # What is made empty on the other device holds nothing that could be looked at.
    away = isinstance(x, torch.Tensor) and x.device == DEVICE
    return torch.empty(x.shape, dtype=x.dtype) if away else x


def _away(x):
    return Elsewhere(x) if isinstance(x, torch.Tensor) and not isinstance(x, Elsewhere) else x
