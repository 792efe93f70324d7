"""``ropewalk inspect``: the position encoding in force."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import typer

from ropewalk.cli.options import Json, LayerType, Length, Method, ModelOrConfig, read_length
from ropewalk.cli.output import number, print_fields, print_json, print_positions, print_table
from ropewalk.integrations.sources import locate

INSPECT_EXAMPLES = """\b
Examples:
  ropewalk inspect ./my-model
  ropewalk inspect config.json --method yarn:factor=4 --length 4x
"""

_HEAD = {
    "head_dim": "head_dim",
    "rotary_dim": "channels that turn",
    "rope_theta": "rope_theta",
    "trained_length": "trained length",
    "method": "method",
    "context_length": "context length",
    "attention_factor": "attention factor (cos and sin)",
    "logit_scale": "logit scale (tau, of the last row)",
    "softmax_scale": "softmax scale",
    "safe_length": "safe length",
    "unscaled_safe_length": "safe length without scaling",
    "pairs_without_full_turn": "pairs without a full turn in training",
    "critical_dimension": "critical dimension (channels with one)",
}

_WITHOUT_ROTATION = ("trained_length", "method", "context_length")


def inspect(
    model_or_config: ModelOrConfig,
    *,
    length: Length = None,
    layer_type: LayerType = None,
    method: Method = None,
    as_json: Json = False,
) -> None:
    """Show the position encoding in force: frequencies, factors, and what training saw."""
    wanted = None if length is None else read_length(length)
    locate(model_or_config)  # a mistyped path is answered before the heavy imports
    from ropewalk import api

    document = api.inspect(
        model_or_config, context_length=wanted, method=method, layer_type=layer_type
    )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    shown = _HEAD if document["rotates"] else {key: _HEAD[key] for key in _WITHOUT_ROTATION}
    fields = {label: document[key] for key, label in shown.items() if key in document}
    print_fields({label: _text(value) for label, value in fields.items()})
    _print_layers(document["layers"])
    pairs = document["pairs"]
    if not document["rotates"]:
        typer.echo(f"Nothing rotates: {document['reason']}.")
        print_positions(document["positions"])
        return
    rows = [
        row
        for before, index in pairwise([-1, *_telling(pairs)])
        for row in _rows(pairs, before, index)
    ]
    header = ("pair", "wavelength", "turns in training", "trained to", "reaches", "")
    print_table(header, rows)
    outside = sum(1 for pair in pairs if pair["out_of_range"])
    typer.echo(
        f"{outside} of {len(pairs)} pairs reach angles that training never saw. "
        "Wavelengths in tokens, angles in radians."
    )
    for warning in document.get("warnings", ()):
        typer.echo(f"warning: {warning['message']}; {warning['remedy']} [{warning['id']}]")


def _print_layers(layers: Sequence[Mapping[str, Any]]) -> None:
    """The kinds of layer, where a model has several or none that rotates."""
    for row in layers:
        if row["logit_scale"] is not None:
            typer.echo(f"Logits of {row['kind']} layers, at row m: {_law(row['logit_scale'])}")
    if len(layers) == 1 and layers[0]["rotates"]:
        return
    header = ("layers", "kind", "attention", "window", "rotates", "rope_theta", "channels")
    rows = [
        (
            str(row["layers"]),
            row["kind"],
            row["attention"],
            _text(row["window"]),
            {True: "yes", False: "no"}.get(row["rotates"], "-"),
            _text(row["rope_theta"]),
            _text(row["rotary_dim"]),
        )
        for row in layers
    ]
    if rows:
        print_table(header, rows)


def _law(scale: Mapping[str, Any]) -> str:
    """The formula of a scale by position."""
    row, floor = ("m + 1" if scale["counted"] else "m"), number(scale["floor"])
    keys = f"({row})" if scale["counted"] else row
    return {
        "staircase": f"1 + {scale['slope']} ln(1 + floor({keys} / {floor}))",
        "above": f"1 + {scale['slope']} ln(max(1, {keys} / {floor}))",
        "power": f"(1 + {keys} / {floor})^{scale['slope']}",
        "log-n": f"max(1, ln({row}) / ln({floor}))",
    }[scale["law"]]


def _telling(pairs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices to show: both ends, and the neighbourhoods of where something changes."""
    last = len(pairs) - 1
    states = [(pair["turns_in_training"] < 1, pair["out_of_range"]) for pair in pairs]
    changes = [i for i, (before, after) in enumerate(pairwise(states), 1) if before != after]
    centres = [0, 1, last - 1, last, *changes, *(i - 1 for i in changes)]
    near = {i + step for i in centres for step in (-1, 0, 1)}
    return sorted(i for i in near if 0 <= i <= last)


def _rows(pairs: Sequence[Mapping[str, Any]], before: int, index: int) -> list[tuple[str, ...]]:
    """The row of a pair, after a row of dots if pairs were left out."""
    pair = pairs[index]
    row = (
        str(pair["pair"]),
        _text(pair["wavelength"]),
        number(pair["turns_in_training"]),
        number(pair["largest_trained_angle"]),
        number(pair["largest_angle"]),
        "outside" if pair["out_of_range"] else "",
    )
    return [row] if index == before + 1 else [("...",) + ("",) * 5, row]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, int | float) else str(value)
