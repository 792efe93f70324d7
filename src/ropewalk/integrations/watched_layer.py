"""A layer of the library's cache that notes whether somebody was handed its keys.

Tensors can be written to in ways that leave no trace (``.data``, numpy). But nobody writes to keys
that nobody holds: every step makes new ones, and hands them to attention alone.
"""

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

_KEYS, _HANDED = "keys", "ropewalk_handed"


class WatchedLayer(DynamicLayer):
    """A ``DynamicLayer``, of which each layer that holds rotated keys is made one."""

    @property
    def keys(self) -> Tensor | None:
        vars(self)[_HANDED] = True
        return keys_of(self)

    @keys.setter
    def keys(self, keys: Tensor | None) -> None:
        vars(self)[_HANDED] = True
        vars(self)[_KEYS] = keys

    def get_seq_length(self) -> int:
        keys = keys_of(self)
        return 0 if not self.is_initialized or keys is None or not keys.numel() else keys.shape[-2]


def watch(layer: DynamicLayer) -> None:
    """Note from now on whether somebody asks for the keys of ``layer``, to add to them too."""
    layer.__class__ = WatchedLayer
    vars(layer)[_HANDED] = False


def unseen(layer: DynamicLayer) -> bool:
    """Whether nobody was handed the keys since ``watch``."""
    return type(layer) is WatchedLayer and not vars(layer)[_HANDED]


def keys_of(layer: Any) -> Tensor | None:
    """Keys of a layer, asked for by nobody."""
    keys: Tensor | None = vars(layer).get(_KEYS)
    return keys


APPENDING = (DynamicLayer, WatchedLayer)
"""Types of layers that do nothing but append; others inherit from them."""
