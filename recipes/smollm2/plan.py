"""What is measured on a real model, in order of importance."""

from recipes.evidence import Line
from recipes.seed.plan import AT_BIRTH, DYNAMIC, WHOLE_SEQUENCE, crossing

MULTIPLES = (0.25, 0.5, 1.0, 1.5, 2.0)
BEYOND = (1.5, 2.0)
CROSSING = (1.0, 1.03125, 1.0625, 1.125, 1.25, 1.5, 2.0)
PER_QUERY = f"{DYNAMIC}:step=32"


def plan(trained_length: int) -> tuple[Line, ...]:
    """Lines for a model of that trained length (L0), windows and chunks in shares of it."""
    chunks = f"chunked:{trained_length // 2}"
    full = tuple(Line(method=each, multiples=MULTIPLES) for each in headline(trained_length))
    gaps = (
        Line(method=WHOLE_SEQUENCE, multiples=MULTIPLES),
        Line(method=AT_BIRTH, multiples=MULTIPLES),
        Line(method=AT_BIRTH, multiples=MULTIPLES, mode="stream"),
        *crossing(trained_length, per_query=PER_QUERY, multiples=CROSSING),
        Line(method=PER_QUERY, multiples=BEYOND, mode=chunks),
        Line(method=WHOLE_SEQUENCE, multiples=BEYOND, mode=chunks),
        Line(method=AT_BIRTH, multiples=BEYOND, mode=chunks),
    )
    rest = tuple(Line(method=each, multiples=MULTIPLES) for each in others(trained_length))
    # Row by row, each under a base of its own: much the dearest cell.
    last = (Line(method=WHOLE_SEQUENCE, multiples=(1.5,), mode="stream"),)
    return (*full, *gaps, *rest, *last)


def headline(trained_length: int) -> tuple[str, ...]:
    """One of each idea: the lines of the picture."""
    quarter = trained_length // 4
    return (
        "none",
        "yarn",
        PER_QUERY,
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
        "dynamic_yarn:step=32",
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


def baselines(trained_length: int) -> tuple[Line, ...]:
    """What the library's own attention computes, for where CUDA's memory did not suffice.

    In float32 the library's attention over grouped heads holds all scores on CUDA: 72 GiB for
    eight sequences of 16,384 tokens. Dear on a CPU, so the longest length comes first.
    """
    twice = (2.0,)
    first = tuple(Line(method=each, multiples=twice) for each in ("none", "yarn"))
    shorter = tuple(Line(method=each, multiples=(1.0, 1.5)) for each in ("none", "yarn"))
    rest = tuple(
        Line(method=each, multiples=twice) for each in ("ntk_aware", "linear", "ntk_by_parts")
    )
    return (*first, *rest, *shorter)
