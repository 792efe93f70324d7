"""The position encoding in force, as a document: what ``ropewalk inspect`` prints."""

import math
from typing import Any

import torch
from torch import Tensor

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.regions import Identity
from ropewalk.methods.config_warnings import config_warnings
from ropewalk.methods.from_config import native_encoding, softmax_scale
from ropewalk.methods.spec import NATIVE, parse_spec
from ropewalk.methods.unscaled import none

LARGEST_MAPPED_LENGTH = 2**24


def inspect_model(
    shape: ModelShape,
    *,
    context_length: int | None = None,
    method: str | None = None,
    layer_type: str | None = None,
) -> dict[str, Any]:
    """What turns how fast, and which pairs see angles that training never showed them.

    context_length  N, in tokens; by default the config's max_position_embeddings
    method          a spec; by default ``native``, what the config asks for
    layer_type      for configs whose layer types differ

    Returns a JSON-serialisable document. ``inv_freq``, ``attention_factor`` and ``logit_scale``
    (tau) are those of the last row at N. A pair is ``out_of_range`` if it never completed a turn
    inside the trained length L0 and now reaches L0 times its trained frequency or more; a pair
    that did complete one has seen every angle. ``safe_length`` is the largest length N at which
    no pair is out of range with L = N (a fixed L where the policy fixes it): null where there is
    none up to 2^40 tokens, or where a position map or start tokens decide, not frequencies;
    ``unscaled_safe_length`` is that of the frequencies that training turned with. For
    ``critical_dimension`` see ``critical_dimension``, for ``warnings`` ``config_warnings``.

    Raises RopewalkError for a rotation, length or method that cannot be used.
    """
    section = shape.rope(layer_type)
    length = _checked(section.max_position_embeddings if context_length is None else context_length)
    native = native_encoding(section)
    encoding = parse_spec(method or NATIVE).encoding(
        section.geometry(), context_length=length, native=native
    )
    trained = _trained_inv_freq(section, native)
    row_length = _last_row_length(encoding, length)
    geometry = encoding.geometry
    return {
        "head_dim": geometry.head_dim,
        "rotary_dim": geometry.rotary_dim,
        "rope_theta": geometry.rope_theta,
        "trained_length": geometry.trained_length,
        "method": method or NATIVE,
        "context_length": length,
        "inv_freq": encoding.rotation.inv_freq(row_length).tolist(),
        "attention_factor": encoding.rotation.attention_factor(row_length),
        "logit_scale": encoding.query_scale(torch.tensor([length - 1])).item(),
        "softmax_scale": softmax_scale(section),
        "critical_dimension": critical_dimension(geometry),
        "pairs_without_full_turn": int((trained * geometry.trained_length < 2 * math.pi).sum()),
        "safe_length": _safe_length(encoding, trained),
        "unscaled_safe_length": _safe_length(_as_trained(section, native), trained),
        "warnings": config_warnings(shape, section, length),
        "pairs": _pairs(encoding, trained, length),
    }


def critical_dimension(geometry: RopeGeometry) -> int:
    """d_tcd = 2 ceil((d / 2) log_b(L0 / 2 pi)): channels whose pairs complete a turn in training.

    d  rotary_dim, b  rope_theta. Between 0 and d.

    Source: Liu et al. 2023, arXiv:2310.05209; Shang et al. 2025, LongRoPE2, arXiv:2502.20082.
    """
    turns = math.log(geometry.trained_length / (2 * math.pi)) / math.log(geometry.rope_theta)
    pairs = math.ceil(geometry.rotary_dim / 2 * turns)
    return min(max(2 * pairs, 0), geometry.rotary_dim)


def _checked(length: int) -> int:
    if isinstance(length, bool) or not isinstance(length, int) or not 2 <= length <= LARGEST_LENGTH:
        raise RopewalkError(f"context_length={length}: expected 2 to 2^40 tokens")
    return length


def _trained_inv_freq(section: RopeSection, native: Encoding) -> Tensor:
    """What training up to L0 turned with: no scaling, except where it belongs to the model."""
    return _as_trained(section, native).rotation.inv_freq(section.trained_length)


def _as_trained(section: RopeSection, native: Encoding) -> Encoding:
    return native if section.rope_type == "proportional" else none(section.geometry())


def _last_row_length(encoding: Encoding, length: int) -> int:
    """L that the last of ``length`` rows sees when all are computed in one call."""
    row, total = torch.tensor([[length - 1]]), torch.tensor([length])
    return int(encoding.row_lengths(row, total).item())


def _pairs(encoding: Encoding, trained: Tensor, length: int) -> list[dict[str, Any]]:
    trained_length = encoding.geometry.trained_length
    inv_freq = encoding.rotation.inv_freq(_last_row_length(encoding, length))
    largest = _largest_angles(encoding, length)
    out = _out_of_range(trained, largest, trained_length)
    return [
        {
            "pair": pair,
            "inv_freq": now,
            "wavelength": 2 * math.pi / now if now > 0 else None,
            "turns_in_training": before * trained_length / (2 * math.pi),
            "largest_trained_angle": before * (trained_length - 1),
            "largest_angle": angle,
            "out_of_range": flag,
        }
        for pair, (now, before, angle, flag) in enumerate(
            zip(inv_freq.tolist(), trained.tolist(), largest.tolist(), out.tolist(), strict=True)
        )
    ]


def _largest_angles(encoding: Encoding, length: int) -> Tensor:
    """Angle ``[f]`` between a row and the key that is shown to be farthest from it."""
    distance = torch.tensor(_largest_distance(encoding, length), dtype=torch.float64)
    return encoding.rotation.angles(distance, _last_row_length(encoding, length))


def _largest_distance(encoding: Encoding, length: int) -> float:
    """Largest distance shown to key 0, which every map shows as far as any other key."""
    if encoding.position_map == Identity():
        return float(length - 1)
    if length > LARGEST_MAPPED_LENGTH:
        raise RopewalkError(
            f"context_length={length} with a position map: expected at most "
            f"{LARGEST_MAPPED_LENGTH} tokens; give a shorter length"
        )
    rows, key = torch.arange(length), torch.tensor([0])
    shown = [
        (region.query_positions(rows) - region.key_positions(key))[region.covers(rows, key)]
        for region in encoding.position_map.regions
    ]
    return float(torch.cat(shown).max())


def _out_of_range(trained: Tensor, largest: Tensor, trained_length: int) -> Tensor:
    bound = trained * trained_length
    return (bound < 2 * math.pi) & (largest >= bound) & (largest > 0)


def _safe_length(encoding: Encoding, trained: Tensor) -> int | None:
    """By bisection: in each of the two spans, up to L0 and beyond, a pair leaves its range once."""
    if encoding.position_map != Identity() or not encoding.rotation.shift_invariant:
        return None
    trained_length, settled = encoding.geometry.trained_length, encoding.settled_length

    def safe(length: int) -> bool:
        theta = encoding.rotation.inv_freq(settled or max(length, trained_length))
        return not _out_of_range(trained, (length - 1) * theta, trained_length).any()

    if safe(LARGEST_LENGTH):
        return None
    good, bad = (trained_length, LARGEST_LENGTH) if safe(trained_length) else (1, trained_length)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if safe(middle) else (good, middle)
    return good
