"""A plan: which methods reach a length, at which price, and the flags for each engine."""

from typing import Any

from ropewalk.configs.limits import limits_length, nothing_to_scale
from ropewalk.configs.reach import pretrained_length
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.configs.unknown import Unknown
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.layer_table import layer_table
from ropewalk.planning.base_bound import base_bound, holds_to, looked_to
from ropewalk.planning.fitting import fitting
from ropewalk.planning.kv_cache import check_request, kv_cache
from ropewalk.planning.rows import (
    AS_TRAINED,
    FINE_TUNING,
    REACHED,
    SEARCH,
    UNTUNED,
    expressed,
    method_rows,
    native_row,
    nearest_row,
    served_cost,
)
from ropewalk.planning.target import Target

_UNKNOWN = dict.fromkeys(
    ("pretrained_length", "smallest_factor", "base", "short_context", "nearest")
)


def plan_model(
    shape: ModelShape,
    length: int,
    *,
    batch: int = 1,
    dtype: str = "bf16",
    trained_length: int | None = None,
    memory: int | None = None,
    weights: int | None = None,
) -> dict[str, Any]:
    """What it takes to run a checkpoint at ``length`` tokens.

    batch, dtype     sequences, and type of cached numbers (bf16, fp16, fp32, fp8, int8), for the
                     memory of the key cache
    trained_length   what it was trained at, or tuned to, where its config says otherwise
    memory, weights  bytes that there are, and those that the weights take, for the longest context

    Three lengths: ``pretrained_length`` (before any scaling; null where the config does not say),
    ``reach`` (what it was tuned to, as it is shipped) and ``length`` (asked for). Beside them
    ``trained_length`` (L0, which factors refer to), ``needed``, ``summary``, ``smallest_factor``
    that reaches, ``layers`` (each kind as ``inspect`` says it, and whether it ``limits`` the
    length), ``base`` (``rope_theta``; ``lower_bound`` published for the length; ``holds_to``, the
    distance at which the checkpoint's own frequencies stop telling similar tokens, or null where
    there is none up to ``looked_to``),
    ``recommended`` (``extend`` for rw.extend, ``serve`` for engines; null where there is nothing
    to scale, or nothing is accepted), ``short_context`` (what short texts pay for each of the
    two), ``nearest`` (where no engine has what reaches: ``method``, ``engines``, ``caveat``),
    ``methods``, ``kv_cache`` and ``memory``.

    A method has ``method`` (a spec, or null where something has to be searched first), ``name``,
    ``status``, ``reaches_untuned`` and ``reaches_tuned`` (tokens or null), ``training``,
    ``short_context``, ``reason``, ``source``, ``measured`` (on the demo model, or null),
    ``extend`` (why rw.extend refuses it, or null), ``served`` (the spec that engines are given)
    and ``engines`` (each what ``export`` says, or ``error``). The state ``status`` is one of as
    trained, untuned, fine-tuning, search first, out of reach. ``kv_cache`` is what
    ``ropewalk.planning.kv_cache`` says, or ``bytes`` null and ``reason``; ``memory`` what
    ``ropewalk.planning.fitting`` says, or null where no memory is given.

    Raises RopewalkError for a config, length, batch or dtype that cannot be used, and for a
    rotation that cannot be where nothing else is needed.
    """
    check_request(length, batch, dtype)
    cache = {
        "kv_cache": _memory(shape, length, batch, dtype),
        "memory": _fitting(shape, memory, weights, batch, dtype),
    }
    nothing = nothing_to_scale(shape)
    if nothing is not None:
        return _unscaled(shape, length, nothing, cache)
    target = Target.of(shape, length, trained_length)
    needed = length > target.reach
    if not needed:
        _require_a_rotation(target)
    methods = method_rows(target) if needed else [native_row(target)]
    recommended = _recommended(methods)
    stuck = needed and recommended["serve"] is None
    return {
        "pretrained_length": target.pretrained,
        "trained_length": target.trained_length,
        "reach": target.reach,
        "length": length,
        "needed": needed,
        "summary": _summary(target, methods),
        "smallest_factor": target.factor if needed else 1.0,
        "base": _base(target),
        "recommended": recommended,
        "short_context": _short_context(methods, recommended),
        "nearest": nearest_row(target) if stuck else None,
        "methods": methods,
        "layers": _layers(shape),
        **cache,
    }


def _require_a_rotation(target: Target) -> None:
    """Nothing is told to be served as it is whose numbers make no rotation; RopewalkError then."""
    native_encoding(target.section)


def _unscaled(shape: ModelShape, length: int, reason: str, cache: dict[str, Any]) -> dict[str, Any]:
    """The plan of a model in which no scaling of RoPE changes anything."""
    growing = [row for row in cache["kv_cache"].get("layers", ()) if row["tokens"] == length]
    count = sum(row["layers"] for row in growing)
    layers = "1 layer" if count == 1 else f"{count} layers"
    grows = f" What grows with length is the cache of {layers}."
    rope = shape.main_rope
    return {
        **_UNKNOWN,
        "pretrained_length": pretrained_length(rope) if isinstance(rope, RopeSection) else None,
        "trained_length": shape.longest,
        "reach": shape.longest,
        "length": length,
        "needed": False,
        "summary": f"{reason}.{grows if growing else ''}",
        "recommended": {"extend": None, "serve": None},
        "methods": [],
        "layers": _layers(shape),
        **cache,
    }


def _layers(shape: ModelShape) -> list[dict[str, Any]]:
    rows = layer_table(shape)
    kinds = () if isinstance(shape.kinds, Unknown) else shape.kinds
    return [{**row, "limits": limits_length(kind)} for row, kind in zip(rows, kinds, strict=True)]


def _base(target: Target) -> dict[str, Any] | None:
    """None where the rope type is unknown, so that there are no frequencies."""
    try:
        theta = native_encoding(target.section).rotation.inv_freq(target.length)
    except RopewalkError:
        return None
    return {
        "rope_theta": target.section.rope_theta,
        "lower_bound": base_bound(target.length),
        "holds_to": holds_to(theta, target.length),
        "looked_to": looked_to(theta, target.length),
    }


def _recommended(methods: list[dict[str, Any]]) -> dict[str, str | None]:
    """The first that reaches the length and is accepted; of those that an engine expresses, the
    first as it is."""
    reached = [row for row in methods if row["status"] in REACHED]
    accepted = [row for row in reached if row["extend"] is None]
    served = [row for row in reached if expressed(row["engines"])]
    served.sort(key=lambda row: row["served"] != row["method"])
    return {
        "extend": accepted[0]["method"] if accepted else None,
        "serve": served[0]["served"] if served else None,
    }


def _short_context(
    methods: list[dict[str, Any]], recommended: dict[str, str | None]
) -> dict[str, Any]:
    """What short texts pay: in words, and in nats at the trained length of the demo model."""

    def cost(key: str, words: Any) -> dict[str, Any] | None:
        row = next((row for row in methods if row[key] == recommended[_OF[key]]), None)
        if row is None or recommended[_OF[key]] is None:
            return None
        nats = row["measured"] and row["measured"]["nats_above_trained"]["1"]
        same = key == "method" or row["served"] == row["method"]
        return {"cost": words(row), "nats_on_the_demo_model": nats if same else None}

    return {
        "extend": cost("method", lambda row: row["short_context"]),
        "serve": cost("served", served_cost),
    }


_OF = {"method": "extend", "served": "serve"}


def _summary(target: Target, methods: list[dict[str, Any]]) -> str:
    best = methods[0]
    if best["status"] == AS_TRAINED:
        return f"Nothing is needed: {best['reason']}."
    times = f"{target.length:,} tokens are {target.stretch:.3g} times the {target.reach:,} that "
    times += "the checkpoint was tuned to"
    if best["status"] == UNTUNED:
        return f"{times}; {best['name']} reaches them without training."
    if best["status"] == FINE_TUNING:
        return f"{times}; {best['name']} reaches them after fine-tuning ({best['training']})."
    if best["status"] == SEARCH:
        return f"{times}; only searched LongRoPE factors with fine-tuning were reported to."
    return f"{times}; no method was reported to reach that far."


def _memory(shape: ModelShape, length: int, batch: int, dtype: str) -> dict[str, Any]:
    try:
        return kv_cache(shape, length, batch=batch, dtype=dtype)
    except RopewalkError as error:
        return {
            "batch": batch,
            "dtype": dtype,
            "tokens": length,
            "bytes": None,
            "reason": str(error),
        }


def _fitting(
    shape: ModelShape, memory: int | None, weights: int | None, batch: int, dtype: str
) -> dict[str, Any] | None:
    if memory is None:
        return None
    try:
        return fitting(shape, memory, weights, batch=batch, dtype=dtype)
    except RopewalkError as error:
        return {"memory": memory, "weights": weights, "longest": None, "reason": str(error)}
