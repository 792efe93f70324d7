"""Just past the trained length: keys and queries on one base, and keys frozen at birth.

The lines are those of NormXU's Consistent-DynamicNTKRoPE, and the true streams that it did not
measure.
"""

from ropewalk.evaluation.request import Line, read_lengths

DYNAMIC = "dynamic_ntk"
WHOLE_SEQUENCE = f"{DYNAMIC}:policy=whole_sequence"
AT_BIRTH = f"{DYNAMIC}:policy=at_birth"
SIMULATED = f"{DYNAMIC}:policy=normxu"
ALPHA_ONE = f"{DYNAMIC}:factor=1,policy=whole_sequence"

LENGTHS = ("1x", "1.0625x", "1.125x", "1.25x", "1.5x", "2x", "4x")


def plan(trained_length: int) -> tuple[Line, ...]:
    """For a small model: every row under a base of its own, much the dearest line, at the end."""
    lines = crossing(trained_length, per_query=DYNAMIC, lengths=LENGTHS)
    return tuple(sorted(lines, key=lambda line: line.method == DYNAMIC))


def crossing(trained_length: int, *, per_query: str, lengths: tuple[str, ...]) -> tuple[Line, ...]:
    """The lines at these lengths. A prompt within the trained length changes nothing."""
    lines = (
        ("none", "full"),
        (per_query, "full"),
        (WHOLE_SEQUENCE, "full"),
        (AT_BIRTH, "stream"),
        (SIMULATED, "full"),
        (ALPHA_ONE, "full"),
        (AT_BIRTH, "full"),
    )
    tokens = read_lengths(lengths, trained_length)
    return (
        *(Line(method=method, lengths=lengths, mode=mode) for method, mode in lines),
        *(
            Line(method=AT_BIRTH, lengths=(n,), mode=prompt_mode(trained_length, n))
            for n in tokens
            if n > 1.125 * trained_length
        ),
    )


def prompt_mode(trained_length: int, length: int) -> str:
    """All but the last L0 / 8 tokens come as one prompt; these are decoded one by one."""
    return f"stream:{length - trained_length // 8}"
