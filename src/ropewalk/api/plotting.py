"""The data behind pictures: plain records, which ``ropewalk plot`` draws and prints."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ropewalk.configs.shape import read_model
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.regions import Region
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.inspection import inspect_model
from ropewalk.methods.spec import parse_spec

CELLS = 256
"""Rows and columns of a matrix at most; of a longer context evenly spread ones are shown."""
BINS_AN_OCTAVE = 8
"""Points of a curve over distances between one and twice as much; each is a mean."""
LARGEST_CURVE = 2**17
LARGEST_TABLE = 2**18

ROUNDED = 1 - 1e-12
"""An angle of exactly L0 steps counts as L0 steps, however it was rounded."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A checkpoint's positions, by a name for titles and a parsed config.json."""

    name: str
    config: Mapping[str, Any]

    @property
    def geometry(self) -> RopeGeometry:
        return read_model(self.config).rope().geometry()

    def stated(self, method: str, length: int) -> str:
        """The spec with an omitted factor written out: length / L0, at least 1."""
        factor = max(1.0, length / self.geometry.trained_length)
        written = []
        for text, part in zip(method.split("+"), parse_spec(method).parts, strict=True):
            joint = "," if part.arguments else ":"
            written.append(f"{text}{joint}factor={factor:.12g}" if part.factor_omitted else text)
        return "+".join(written)

    def encoding(self, method: str, length: int) -> Encoding:
        """The encoding of a stated spec at context length ``length``."""
        native = native_encoding(read_model(self.config).rope())
        return parse_spec(method).encoding(native.geometry, context_length=length, native=native)

    def pairs(self, method: str | None = None, length: int | None = None) -> list[dict[str, Any]]:
        """What ``inspect`` says of each pair."""
        document = inspect_model(read_model(self.config), context_length=length, method=method)
        return document["pairs"]  # type: ignore[no-any-return]

    def record(self, plot: str, length: int) -> Record:
        """What the record of every picture begins with."""
        geometry = self.geometry
        return {
            "plot": plot,
            "model": self.name,
            "head_dim": geometry.head_dim,
            "rope_theta": geometry.rope_theta,
            "trained_length": geometry.trained_length,
            "context_length": length,
        }


def distances(subject: Subject, methods: Sequence[str], length: int) -> Record:
    """The distance that each pair of tokens is shown, and where regions begin and end.

    ``rows`` and ``keys`` are the tokens shown, at most 256 of them. For each method ``matrix``
    ``[row][key]`` (None above the diagonal), the ``largest`` of them, and the ``regions``' bands:
    keys ``start <= n < stop`` of each row.
    """
    index = _spread(length)
    drawn = []
    for method in methods:
        stated = subject.stated(method, length)
        regions = subject.encoding(stated, length).position_map.regions
        matrix = _shown(regions, index[:, None], index[None, :])
        drawn.append(
            {
                "method": stated,
                "largest": matrix.nan_to_num(0).max().item(),
                "matrix": _with_gaps(matrix),
                "regions": [_band(region, index) for region in regions],
            }
        )
    tokens = index.tolist()
    return {
        **subject.record("distances", length),
        "rows": tokens,
        "keys": tokens,
        "methods": drawn,
    }


def angles(subject: Subject, methods: Sequence[str], lengths: Sequence[int]) -> Record:
    """The angle of every pair at every position, one panel a length and method.

    ``angles`` ``[position][pair]`` in radians; ``out_of_range`` says where a pair that never
    completed a turn in training is turned as far as L0 of its trained steps or farther.
    """
    bound = 2 * math.pi * torch.tensor(_turns(subject), dtype=torch.float64)
    panels = []
    for length in lengths:
        _at_most(length, LARGEST_TABLE // subject.geometry.rotary_dim)
        for method in methods:
            stated = subject.stated(method, length)
            encoding = subject.encoding(stated, length)
            turned = encoding.frequencies.angles(
                torch.arange(length), _last_length(encoding, length)
            )
            outside = (bound < 2 * math.pi) & (turned >= bound * ROUNDED) & (turned > 0)
            panels.append(
                {
                    "method": stated,
                    "context_length": length,
                    "angles": turned.tolist(),
                    "out_of_range": outside.tolist(),
                }
            )
    return {**subject.record("angles", max(lengths)), "panels": panels}


def wavelengths(subject: Subject, methods: Sequence[str], length: int) -> Record:
    """Tokens that each pair takes for a turn, with each method at ``length``.

    ``turns_in_training`` counts the turns of each pair inside the trained length, unscaled.
    """
    drawn = []
    for method in methods:
        stated = subject.stated(method, length)
        pairs = inspect_model(read_model(subject.config), context_length=length, method=stated)[
            "pairs"
        ]
        drawn.append({"method": stated, "wavelengths": [pair["wavelength"] for pair in pairs]})
    return {
        **subject.record("wavelengths", length),
        "turns_in_training": _turns(subject),
        "methods": drawn,
    }


def reach(subject: Subject, methods: Sequence[str], length: int) -> Record:
    """The largest angle of each pair at ``length``, in units of L0 of its trained steps.

    From 1 on, a pair that completed no turn in training is ``out_of_range``.
    """
    drawn = []
    for method in methods:
        stated = subject.stated(method, length)
        pairs = inspect_model(read_model(subject.config), context_length=length, method=stated)[
            "pairs"
        ]
        drawn.append(
            {
                "method": stated,
                "reach": [_ratio(pair) for pair in pairs],
                "out_of_range": [pair["out_of_range"] for pair in pairs],
            }
        )
    return {
        **subject.record("reach", length),
        "turns_in_training": _turns(subject),
        "methods": drawn,
    }


def decay(subject: Subject, methods: Sequence[str], length: int) -> Record:
    """How logits of the last of ``length`` rows fall with the distance D of the key, from 1 on.

        bound(D) = a^2 tau / f * sum_j |S_j|,   S_j = sum_(i < j) e^(i phi_i(D)),   j = 1 .. f
        score(D) = a^2 tau / f * sum_i cos phi_i(D)

    phi_i(D) is the angle between the row and the key at true distance D, f the number of pairs.
    ``bound`` follows the size that any logit may have at most, ``score`` is the logit of equal
    query and key channels. Each point is the mean over the distances of an eighth of an octave,
    ``bins``: first and last; ``distances`` are their middles.

    Source: Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.4.3.
    """
    _at_most(length, LARGEST_CURVE)
    bins = _octaves(length)
    drawn = []
    for method in methods:
        stated = subject.stated(method, length)
        bound, score = _decay(subject.encoding(stated, length), length)
        drawn.append({"method": stated, "bound": _means(bound, bins), "score": _means(score, bins)})
    return {
        **subject.record("decay", length),
        "bins": bins,
        "distances": [(first + last) / 2 for first, last in bins],
        "methods": drawn,
    }


def sinusoidal(width: int, length: int) -> Record:
    """The table of absolute positions ``[position][channel]``.

        PE(m, 2i) = sin(m / 10000^(2i / d)),   PE(m, 2i + 1) = cos(m / 10000^(2i / d))

    Source: Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, section 3.5.
    """
    if width < 2 or width % 2:
        raise RopewalkError(f"width={width}: expected an even number of channels, at least 2")
    _at_most(length, LARGEST_TABLE // width)
    speeds = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    turned = torch.arange(length, dtype=torch.float64)[:, None] * speeds
    table = torch.stack([turned.sin(), turned.cos()], dim=-1).flatten(1)
    return {"plot": "sinusoidal", "width": width, "context_length": length, "table": table.tolist()}


def _spread(length: int) -> Tensor:
    """All tokens, or evenly spread ones with both ends."""
    if length <= CELLS:
        return torch.arange(length)
    return torch.linspace(0, length - 1, CELLS, dtype=torch.float64).round().long()


def _shown(regions: Sequence[Region], rows: Tensor, keys: Tensor) -> Tensor:
    """Distance of each pair, NaN above the diagonal."""
    shown = torch.full((rows - keys).shape, math.nan, dtype=torch.float64)
    for region in regions:
        difference = region.query_positions(rows) - region.key_positions(keys)
        shown = torch.where(region.covers(rows, keys) & (keys <= rows), difference, shown)
    return shown


def _band(region: Region, rows: Tensor) -> Record:
    start, stop = region.key_bounds(rows)
    stop = torch.minimum(stop, rows + 1)
    return {"start": torch.minimum(start, stop).tolist(), "stop": stop.tolist()}


def _decay(encoding: Encoding, length: int) -> tuple[Tensor, Tensor]:
    """Bound and score ``[D]`` of the last row, D = 0 .. length - 1."""
    row, seen = torch.tensor([length - 1]), _last_length(encoding, length)
    keys = torch.arange(length).flip(0)
    frequencies = encoding.frequencies
    phases = torch.zeros(length, len(frequencies.inv_freq(seen)), dtype=torch.float64)
    for region in encoding.position_map.regions:
        here = region.covers(row, keys)
        query = frequencies.angles(region.query_positions(row), seen)
        phases[here] = query - frequencies.angles(region.key_positions(keys[here]), seen)
    magnitude = frequencies.attention_factor(seen) ** 2 * encoding.query_scale(row)
    sums = torch.polar(torch.ones_like(phases), phases).cumsum(dim=1)
    return magnitude * sums.abs().mean(dim=1), magnitude * phases.cos().mean(dim=1)


def _octaves(length: int) -> list[tuple[int, int]]:
    """(first, last) of consecutive bins of the distances 1 .. length - 1, equal on a log axis."""
    edges = [1]
    while edges[-1] < length:
        edges.append(max(edges[-1] + 1, round(edges[-1] * 2 ** (1 / BINS_AN_OCTAVE))))
    return [(first, min(after, length) - 1) for first, after in pairwise(edges)]


def _means(values: Tensor, bins: Sequence[tuple[int, int]]) -> list[float]:
    return [values[first : last + 1].mean().item() for first, last in bins]


def _last_length(encoding: Encoding, length: int) -> int:
    """L that the last of ``length`` rows sees when all are computed in one call."""
    return int(encoding.row_lengths(torch.tensor([[length - 1]]), torch.tensor([length])).item())


def _turns(subject: Subject) -> list[float]:
    return [pair["turns_in_training"] for pair in subject.pairs()]


def _ratio(pair: Mapping[str, Any]) -> float | None:
    """The largest angle over that of L0 trained steps; None for a pair that never turned."""
    steps = 2 * math.pi * pair["turns_in_training"]
    return pair["largest_angle"] / steps if steps > 0 else None


def _with_gaps(matrix: Tensor) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]


def _at_most(length: int, largest: int) -> None:
    if length > largest:
        raise RopewalkError(f"length={length}: expected at most {largest} tokens in this picture")
