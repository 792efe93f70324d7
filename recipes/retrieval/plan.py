"""What is asked of which model: tasks, methods and lengths."""

from dataclasses import dataclass

from recipes.seed.plan import AT_BIRTH, WHOLE_SEQUENCE
from ropewalk.evaluation.request import Line

PER_QUERY = "dynamic_ntk:step=8"
TOY_METHODS = (
    "none",
    "linear",
    "ntk_aware",
    PER_QUERY,
    "yarn",
    "dynamic_yarn:step=8",
    "rerope",
    "self_extend",
    "dual_chunk",
    "rerope+log_n",
)
TOY_LENGTHS = ("1x", "2x", "4x", "8x")
FROZEN = ("1x", "1.25x", "1.5x", "2x", "4x")
"""Lengths at which keys frozen at birth are held against one base for each row."""
REAL_METHODS = (
    "none",
    "yarn:factor=2",
    "dynamic_ntk",
    "self_extend:group_size=4,window=1024",
)
REAL_LENGTHS = (2048, 4096, 12288)
"""The last lies past the trained length of 8,192; it takes minutes a trial on one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One model's.

    batch  samples at once
    """

    lines: tuple[Line, ...]
    tasks: tuple[str, ...]
    trials: int
    batch: int
    windows: int | None = None
    tail_tokens: int | None = None


TOY = Plan(
    lines=(
        *(Line(method=each, lengths=TOY_LENGTHS) for each in TOY_METHODS),
        *(Line(method=PER_QUERY, lengths=FROZEN, mode=mode) for mode in ("stream", "chunked:64")),
        *(Line(method=AT_BIRTH, lengths=FROZEN, mode=mode) for mode in ("stream", "chunked:64")),
        Line(method=WHOLE_SEQUENCE, lengths=FROZEN),
    ),
    tasks=("induction", "key_value"),
    trials=40,
    batch=40,
)
REAL = Plan(
    lines=tuple(Line(method=each, lengths=REAL_LENGTHS) for each in REAL_METHODS),
    tasks=("loss", "needle"),
    trials=5,
    batch=1,
    windows=2,
    tail_tokens=256,
)
