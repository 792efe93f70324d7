"""What is measured on a real model, in order of importance."""

from dataclasses import replace

from recipes.seed.plan import AT_BIRTH, DYNAMIC, WHOLE_SEQUENCE, crossing
from ropewalk.evaluation.request import Line

LENGTHS = ("0.25x", "0.5x", "1x", "1.5x", "2x")
BEYOND = ("1.5x", "2x")
CROSSING = ("1x", "1.03125x", "1.0625x", "1.125x", "1.25x", "1.5x", "2x")


def plan(trained_length: int) -> tuple[Line, ...]:
    """Lines for a model of that trained length (L0); windows, steps and chunks in shares of it."""
    dynamic, chunks = per_query(trained_length), f"chunked:{trained_length // 2}"
    return (
        *(Line(method=each, lengths=LENGTHS) for each in measured(trained_length)),
        Line(method=AT_BIRTH, lengths=LENGTHS, mode="stream"),
        *crossing(trained_length, per_query=dynamic, lengths=CROSSING),
        Line(method=WHOLE_SEQUENCE, lengths=BEYOND, mode=chunks),
        Line(method=AT_BIRTH, lengths=BEYOND, mode=chunks),
        Line(method=dynamic, lengths=BEYOND, mode=chunks),
        # Row by row, each under a base of its own: much the dearest cell.
        Line(method=WHOLE_SEQUENCE, lengths=("1.5x",), mode="stream"),
    )


def longest(trained_length: int) -> tuple[Line, ...]:
    """The full passes at the longest length alone: for seconds that nothing else disturbs."""
    return tuple(
        replace(line, lengths=LENGTHS[-1:])
        for line in plan(trained_length)
        if line.mode == "full" and line.lengths == LENGTHS
    )


def measured(trained_length: int) -> tuple[str, ...]:
    """The methods whose full passes are measured at all lengths."""
    return (*headline(trained_length), WHOLE_SEQUENCE, AT_BIRTH, *others(trained_length))


def per_query(trained_length: int) -> str:
    """Rows of a 32nd of the trained length share a base: long enough for fused attention."""
    return f"{DYNAMIC}:step={trained_length // 32}"


def headline(trained_length: int) -> tuple[str, ...]:
    """One of each idea: the lines of the picture."""
    quarter = trained_length // 4
    return (
        "none",
        "yarn",
        per_query(trained_length),
        f"rerope:window={trained_length // 2}",
        f"dual_chunk:chunk_size={3 * quarter},local_window={quarter}",
        f"self_extend:group_size=4,window={quarter}",
        "ntk_aware",
    )


def others(trained_length: int) -> tuple[str, ...]:
    """Relatives, compositions and other parameters."""
    half, quarter, eighth = (trained_length // share for share in (2, 4, 8))
    return (
        "linear",
        f"dynamic_yarn:step={trained_length // 32}",
        "llama3",
        "ntk_by_parts",
        f"rerope:window={half}+log_n",
        f"string:shift={trained_length},window={trained_length // 64}",
        f"leaky_rerope:window={quarter},slope=4",
        f"dual_chunk:chunk_size={3 * quarter},local_window={quarter}+yarn",
        f"{DYNAMIC}:policy=fixed,length={2 * trained_length}",
        "log_n",
        f"rerope:window={eighth}",
        f"rerope:window={trained_length}",
    )
