"""What attention layers are handed, seen by an attention that ignores queries and keys.

Hidden states are then the same whatever the rotation does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ropewalk.attention.call import Call
from ropewalk.attention.softmax import Softmax
from ropewalk.integrations.call import CallRows, Horizon


@dataclass(slots=True)
class Recorder:
    """A layer's attention that records, and answers without looking at q and k."""

    q: Tensor = field(default_factory=lambda: torch.empty(0))
    k: Tensor = field(default_factory=lambda: torch.empty(0))
    window: int | None = None
    horizon: Horizon = Horizon.CAUSAL

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        rows = call.rows
        assert isinstance(rows, CallRows)
        self.q, self.k, self.window, self.horizon = q, k, rows.window, rows.horizon
        return v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)


def attention_names(model: nn.Module) -> Iterator[str]:
    """Modules that may call the library's attention interface, told by name or by attribute."""
    for name, module in model.named_modules():
        if "Attention" in type(module).__name__ or hasattr(module, "is_causal"):
            yield name


def unturned(answer: object) -> object:
    """A rotary module's answer that turns nothing."""
    if isinstance(answer, Tensor):
        return torch.ones_like(answer)
    assert isinstance(answer, list | tuple)
    cos, sin = answer
    return torch.ones_like(cos), torch.zeros_like(sin)
