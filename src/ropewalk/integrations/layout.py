"""How a family lays its rotation out, found by measurement against its own output.

The model runs twice on a few tokens under an attention that ignores its queries and keys:
once with its own rotary module, once with cos = 1 and sin = 0. Hidden states are then the
same in both runs, and each layer's q and k are seen turned and unturned. The pairing, the
place of the rotary channels and the layers without positions follow by comparison with
``rotate``. A layer that no candidate explains has a layout that we do not know.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.attention.softmax import Softmax
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rows import Rows
from ropewalk.core.turning import turns
from ropewalk.integrations.call import CallRows
from ropewalk.integrations.heads import HeadLayout, Heads, nearest_fit, relative_distance
from ropewalk.integrations.precision import as_shipped
from ropewalk.integrations.rotary import SPREADS, ComplexTable, RealTable, StockTable
from ropewalk.integrations.routing import routed

Native = Callable[[str | None], Encoding]
"""Layer type (None in families without) -> the config's own encoding of such layers."""

PROBE_TOKENS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLayout:
    """One attention module. ``native`` has the pairing that was found."""

    name: str
    module: nn.Module
    layer_type: str | None
    window: int | None
    native: Encoding | None
    """None in a layer without positions."""
    heads: HeadLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryLayout:
    """One rotary module of the library and the way it answers."""

    parent: nn.Module
    attribute: str
    table: StockTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLayout:
    """Everything about a model's positions that had to be measured."""

    family: str
    layers: tuple[LayerLayout, ...]
    rotaries: tuple[RotaryLayout, ...]


@dataclass(slots=True)
class _Seen:
    """What a layer received: a plan that records, and answers without looking at q and k."""

    q: Tensor = field(default_factory=lambda: torch.empty(0))
    k: Tensor = field(default_factory=lambda: torch.empty(0))
    window: int | None = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        assert isinstance(rows, CallRows)
        self.q, self.k, self.window = q, k, rows.window
        return v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)


def measure_layout(model: nn.Module, native: Native) -> ModelLayout:
    """Run the probe. Raises RopewalkError, by the family's name, for an unknown layout."""
    family = str(getattr(model.config, "model_type", type(model).__name__))
    answers: dict[str, Any] = {}
    with _hooked(model, answers.__setitem__):
        turned = _run(model, family)
    with _hooked(model, lambda name, answer: _unturned(answer)):
        plain = _run(model, family)
    if not turned:
        raise RopewalkError(
            f"{family}: none of its layers calls the library's attention interface; "
            "expected a decoder of the transformers library"
        )
    modules = dict(model.named_modules())
    stock = [modules[name] for name in answers]
    layers = []
    for name in turned:
        encoding = as_shipped(native(_layer_type(modules[name])), stock)
        layers.append(_layer(family, name, turned[name], plain[name], modules[name], encoding))
    natives = [layer.native for layer in layers if layer.native is not None]
    if not natives:
        raise RopewalkError(f"{family}: no layer turns its queries and keys; nothing to extend")
    rotaries = tuple(
        RotaryLayout(
            parent=modules[name.rpartition(".")[0]],
            attribute=name.rpartition(".")[2],
            table=_table(family, answer, natives),
        )
        for name, answer in answers.items()
    )
    return ModelLayout(family=family, layers=tuple(layers), rotaries=rotaries)


def probe_ids(model: nn.Module) -> Tensor:
    """The same few pseudo-random ids ``[1, n]`` for every probe of a model."""
    vocabulary = model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (1, PROBE_TOKENS), generator=generator)
    return ids.to(next(model.parameters()).device)


@torch.no_grad()
def _run(model: nn.Module, family: str) -> dict[str, _Seen]:
    seen = {name: _Seen() for name, m in model.named_modules() if "Attention" in type(m).__name__}
    with routed(model, seen):
        try:
            model(probe_ids(model), use_cache=False)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            raise RopewalkError(
                f"{family} is not supported: its code does not run under another attention "
                f"({type(error).__name__}: {reason})"
            ) from error
    return {name: each for name, each in seen.items() if each.q.numel()}


def _unturned(answer: Any) -> Any:
    """A rotary module's answer that turns nothing."""
    if isinstance(answer, Tensor):
        return torch.ones_like(answer)
    cos, sin = answer
    return torch.ones_like(cos), torch.zeros_like(sin)


@contextmanager
def _hooked(model: nn.Module, see: Callable[[str, Any], Any]) -> Iterator[None]:
    """Show every rotary module's answer to ``see``, which may put another in its place."""
    handles = [
        module.register_forward_hook(
            lambda module, args, out, name=name: see(name, out)  # type: ignore[misc]
        )
        for name, module in model.named_modules()
        if "Rotary" in type(module).__name__
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layer(
    family: str, name: str, turned: _Seen, plain: _Seen, module: nn.Module, encoding: Encoding
) -> LayerLayout:
    heads: HeadLayout = HeadLayout()
    found: Encoding | None = None
    if relative_distance(plain.q, turned.q) > _tolerance(turned.q) / 8:
        seen = Heads(q=plain.q, k=plain.k, turned_q=turned.q, turned_k=turned.k)
        _require_room(family, name, encoding, plain.q.shape[-1])
        fit = nearest_fit(seen, module, encoding)
        if fit.error > _tolerance(turned.q):
            raise RopewalkError(
                f"{family} is not supported: {name} does not turn its queries and keys as its "
                f"config says (relative difference {fit.error:.1e} for the nearest layout)"
            )
        found, heads = fit.encoding, fit.heads
    return LayerLayout(
        name=name,
        module=module,
        layer_type=_layer_type(module),
        window=turned.window,
        native=found,
        heads=heads,
    )


def _require_room(family: str, name: str, encoding: Encoding, width: int) -> None:
    turning = 2 * len(encoding.frequencies.inv_freq(encoding.geometry.trained_length))
    if turning > width:
        raise RopewalkError(
            f"{family}: its config turns {turning} channels, but {name} has heads of {width}"
        )


def _table(family: str, answer: Any, natives: list[Encoding]) -> StockTable:
    """How a rotary module lays out its answer; it may speak for one of several layer types."""
    cos = answer.real if isinstance(answer, Tensor) else answer[0]
    positions = torch.arange(cos.shape[-2], device=cos.device)[None]
    for native in natives:
        lengths = torch.full_like(positions, native.geometry.trained_length)
        angles, factor = turns(positions, lengths, native)
        for spread in SPREADS:
            ours = spread(angles.cos() * factor)
            if ours.shape[-1] == cos.shape[-1] and relative_distance(ours, cos) < _tolerance(cos):
                if isinstance(answer, Tensor):
                    return ComplexTable(pairs=cos.shape[-1])
                return RealTable(spread=spread, width=cos.shape[-1])
    raise RopewalkError(
        f"{family} is not supported: its rotary module answers {tuple(cos.shape)} in an order "
        "or with frequencies that its config does not explain"
    )


def _layer_type(module: nn.Module) -> str | None:
    types = getattr(module.config, "layer_types", None)
    index = getattr(module, "layer_idx", None)
    return None if types is None or index is None else str(types[index])


def _tolerance(x: Tensor) -> float:
    """Room for the library's float32 angles, or for its rounding of cos and sin to 16 bits."""
    return 1e-4 if x.dtype in (torch.float32, torch.float64) else 3e-2
