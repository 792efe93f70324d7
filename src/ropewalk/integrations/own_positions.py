"""What models of the library know of positions where nothing rotates, and what limits each.

Found in the modules of the family's own class, so that a config is enough: its class is built
without memory for its weights.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from inspect import signature
from typing import Any

import torch
from torch import nn

from ropewalk.core.own_positions import OwnPositions
from ropewalk.integrations.quiet import quiet

BIASES = ("alibi", "position_bias")
"""What the library's ALiBi models call their bias, as an argument of each layer."""


def positions_of_config(config: Mapping[str, Any]) -> list[OwnPositions]:
    """Of a parsed config.json; empty where the library has no class for it, or it has none."""
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return []
    try:
        with quiet(), torch.device("meta"):
            whole = CONFIG_MAPPING[model_type].from_dict(deepcopy(dict(config)))
            model = AutoModel.from_config(whole, trust_remote_code=False)
    except Exception:  # any type may come from classes that expect other numbers
        return []
    return own_positions(model)


def own_positions(model: nn.Module) -> list[OwnPositions]:
    """Of a model, each kind once."""
    found: dict[OwnPositions, None] = {}
    for name, module in model.named_modules():
        for each in _of_module(name, module):
            found.setdefault(each)
    if layers_with_alibi(model):
        found.setdefault(_alibi(model))
    return list(found)


def layers_with_alibi(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Layers that are handed an ALiBi bias, and the name of that argument."""
    config = getattr(model, "config", None)
    if getattr(config, "alibi", True) is False:
        return []
    return [
        (layer, name)
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        for layer in module
        for name in BIASES
        if name in signature(layer.forward).parameters and not _has_buckets(layer)
    ]


def modules_with_buckets(model: nn.Module) -> list[nn.Module]:
    """Modules that hold a table of T5's bias."""
    return [m for m in model.modules() if _holds_buckets(m)]


def modules_with_a_table(model: nn.Module) -> list[nn.Module]:
    """Modules that look positions up in a table of their own."""
    return [
        module
        for module in model.modules()
        if any(
            isinstance(child, nn.Embedding) and _positional(name)
            for name, child in module.named_children()
        )
    ]


def _has_buckets(layer: nn.Module) -> bool:
    return any(hasattr(m, "relative_attention_num_buckets") for m in layer.modules())


def _holds_buckets(module: nn.Module) -> bool:
    return isinstance(getattr(module, "relative_attention_bias", None), nn.Embedding) and hasattr(
        module, "_relative_position_bucket"
    )


def _of_module(name: str, module: nn.Module) -> Iterator[OwnPositions]:
    own: Any = module
    if _holds_buckets(module):
        buckets, farthest = own.relative_attention_num_buckets, own.relative_attention_max_distance
        yield OwnPositions(
            kind="t5_bias",
            numbers=(
                ("relative_attention_num_buckets", int(buckets)),
                ("relative_attention_max_distance", int(farthest)),
            ),
            limit=f"all distances of about {farthest} and more look alike; how much attention "
            "falls on them grows with the length",
            methods=("linear", "ntk_aware"),
        )
    elif isinstance(getattr(module, "rel_extent", None), int) and hasattr(module, "proj"):
        yield OwnPositions(
            kind="inkling",
            numbers=(("rel_extent", own.rel_extent),),
            limit=f"beyond {own.rel_extent} tokens there is no position; profiles of a longer "
            "extent have to be trained",
        )
    elif isinstance(module, nn.Embedding) and _positional(name):
        yield from _table(name, module)


def _positional(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last in ("wpe", "embed_positions", "position_embeddings", "embed_position")


def _table(name: str, module: nn.Embedding) -> Iterator[OwnPositions]:
    # BART, OPT and others keep rows before the first position.
    rows = module.num_embeddings - int(getattr(module, "offset", 0) or 0)
    if "Sinusoid" in type(module).__name__ or not module.weight.requires_grad:
        limit = "sums of sinusoids past the trained length were never seen; to read farther, train"
        yield OwnPositions(kind="sinusoidal", limit=limit)
        return
    yield OwnPositions(
        kind="learned",
        numbers=(("rows", rows),),
        limit=f"a table of {rows:,} positions: there is none past it, and a longer table has to be "
        "trained",
        last_length=rows,
    )


def _alibi(model: nn.Module) -> OwnPositions:
    config: Any = getattr(model, "config", None)
    rows = getattr(config, "max_seq_len", None)
    return OwnPositions(
        kind="alibi",
        limit="nothing is new past the trained length, and little is read there: logits fall with "
        "the distance",
        last_length=int(rows) if isinstance(rows, int) else None,
        methods=("linear", "ntk_aware"),
    )
