"""How a family lays its rotation out, found by measurement against its own output.

The model runs twice on a few tokens under an attention that ignores its queries and keys:
once with its own rotary module, once with cos = 1 and sin = 0. Hidden states are then the
same in both runs, and each layer's q and k are seen turned and unturned. The pairing, the
place of the rotary channels and the layers without positions follow by comparison with
``rotate``. A layer that no candidate explains has a layout that we do not know.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.heads import HeadLayout, Heads, nearest_fit, pairs_of, relative_distance
from ropewalk.integrations.precision import as_shipped
from ropewalk.integrations.probe import family_of, probe_ids, running, seeing_answers
from ropewalk.integrations.readers import Readers
from ropewalk.integrations.recorder import Recorder, attention_names, unturned
from ropewalk.integrations.rotary import SPREADS, ComplexTable, RealTable, StockTable
from ropewalk.integrations.routing import routed
from ropewalk.methods.by_layer import Native


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
    decoder: nn.Module
    """The model around it, which is told of padding."""
    table: StockTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLayout:
    """Everything about a model's positions that had to be measured.

    horizon        BOTH_WAYS where a layer's rows see what comes after them, else CAUSAL
    other_readers  modules beside attention that compute with the rotary modules' answers
    """

    family: str
    horizon: Horizon
    layers: tuple[LayerLayout, ...]
    rotaries: tuple[RotaryLayout, ...]
    other_readers: tuple[str, ...]


def measure_layout(model: nn.Module, native: Native) -> ModelLayout:
    """Run the probe. Raises RopewalkError, by the family's name, for an unknown layout."""
    family = family_of(model)
    answers: dict[str, Any] = {}
    readers = Readers(attention_names(model))

    def see(name: str, answer: Any) -> Any:
        answers[name] = answer
        return readers.marked(answer)

    with seeing_answers(model, see), readers.watching(model):
        turned = _run(model)
    with seeing_answers(model, lambda name, answer: unturned(answer)):
        plain = _run(model)
    if not turned:
        raise RopewalkError(
            f"{family}: none of its layers calls the library's attention interface; "
            "expected a decoder of the transformers library"
        )
    modules = dict(model.named_modules())
    stock = [modules[name] for name in answers]
    layers = []
    for name in turned:
        shipped = partial(_shipped, native, modules[name], stock)
        layers.append(_layer(family, name, turned[name], plain[name], modules[name], shipped))
    natives = [layer.native for layer in layers if layer.native is not None]
    if not natives:
        raise RopewalkError(f"{family}: no layer turns its queries and keys; nothing to extend")
    rotaries = tuple(
        RotaryLayout(
            parent=modules[name.rpartition(".")[0]],
            attribute=name.rpartition(".")[2],
            decoder=_model_around(name, modules),
            table=_table(family, answer, natives),
        )
        for name, answer in answers.items()
    )
    sees_ahead = any(each.horizon is Horizon.BOTH_WAYS for each in turned.values())
    return ModelLayout(
        family=family,
        horizon=Horizon.BOTH_WAYS if sees_ahead else Horizon.CAUSAL,
        layers=tuple(layers),
        rotaries=rotaries,
        other_readers=tuple(sorted(readers.names)),
    )


@torch.no_grad()
def _run(model: nn.Module) -> dict[str, Recorder]:
    seen = {name: Recorder() for name in attention_names(model)}
    with routed(model, seen), running(model, "under another attention"):
        model(probe_ids(model), use_cache=False)
    return {name: each for name, each in seen.items() if each.q.numel()}


def _model_around(name: str, modules: Mapping[str, nn.Module]) -> nn.Module:
    """The nearest model of the library around a module: lists and layers hold rotaries too."""
    while name:
        name = name.rpartition(".")[0]
        if isinstance(modules[name], PreTrainedModel):
            break
    return modules[name]


def _shipped(native: Native, module: nn.Module, rotaries: Sequence[nn.Module]) -> Encoding:
    """The encoding that the config gives a layer, as the library rounds it."""
    return as_shipped(native(_layer_type(module)), rotaries)


def _layer(
    family: str,
    name: str,
    turned: Recorder,
    plain: Recorder,
    module: nn.Module,
    shipped: Callable[[], Encoding],
) -> LayerLayout:
    heads: HeadLayout = HeadLayout()
    found: Encoding | None = None
    if relative_distance(plain.q, turned.q) > _tolerance(turned.q) / 8:
        seen = Heads(q=plain.q, k=plain.k, turned_q=turned.q, turned_k=turned.k)
        encoding = shipped()
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
    rotating = 2 * pairs_of(encoding)
    if rotating > width:
        raise RopewalkError(
            f"{family}: its config turns {rotating} channels, but {name} has heads of {width}"
        )


def _table(family: str, answer: Any, natives: list[Encoding]) -> StockTable:
    """How a rotary module lays out its answer; it may speak for one of several layer types."""
    cos = answer.real if isinstance(answer, Tensor) else answer[0]
    positions = torch.arange(cos.shape[-2], device=cos.device)[None]
    for native in natives:
        wave = native.rotation.wave(positions, native.geometry.trained_length, Side.KEY)
        for spread in SPREADS:
            ours = spread(wave.real)
            if ours.shape[-1] == cos.shape[-1] and relative_distance(ours, cos) < _tolerance(cos):
                if isinstance(answer, Tensor):
                    return ComplexTable(pairs=cos.shape[-1])
                return RealTable(spread=spread, width=cos.shape[-1])
    raise RopewalkError(
        f"{family} is not supported: its rotary module answers {tuple(cos.shape)} in an order "
        "or with frequencies that its config does not explain"
    )


def _layer_type(module: nn.Module) -> str | None:
    # In the instance: some configs give that name to what no rope parameter depends on.
    types = vars(module.config).get("layer_types")
    index = getattr(module, "layer_idx", None)
    return None if types is None or index is None else str(types[index])


def _tolerance(x: Tensor) -> float:
    """Room for the library's float32 angles, or for its rounding of cos and sin to 16 bits."""
    return 1e-4 if x.dtype in (torch.float32, torch.float64) else 3e-2
