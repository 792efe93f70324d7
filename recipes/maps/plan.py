"""How far position maps carry a small model, and what their parameters decide."""

from ropewalk.evaluation.request import Line

SHARES = (1, 2, 3, 4, 6, 8)
"""ReRoPE's windows, in eighths of the trained length."""


def plan(trained_length: int) -> tuple[Line, ...]:
    lengths = ("1x", "2x", "4x", "8x")
    return tuple(Line(method=each, lengths=lengths) for each in methods(trained_length))


def methods(trained_length: int) -> tuple[str, ...]:
    eighth = trained_length // 8
    return (
        "none",
        *(f"rerope:window={share * eighth}" for share in SHARES),
        *(f"rerope:window={share * eighth}+log_n" for share in (2, 4)),
        "leaky_rerope",
        "self_extend",
        "self_extend+log_n",
        "dual_chunk",
        "dual_chunk:rule=chunkllama",
        "dual_chunk+log_n",
        "string",
    )
