"""Just past the trained length: keys and queries on one base, and keys frozen at birth.

The lines are those of NormXU's Consistent-DynamicNTKRoPE, and the true streams that it did not
measure.
"""

from recipes.evidence import Line

DYNAMIC = "dynamic_ntk"
WHOLE_SEQUENCE = f"{DYNAMIC}:policy=whole_sequence"
AT_BIRTH = f"{DYNAMIC}:policy=at_birth"
SIMULATED = f"{DYNAMIC}:policy=normxu"
ALPHA_ONE = f"{DYNAMIC}:factor=1,policy=whole_sequence"

MULTIPLES = (1.0, 1.0625, 1.125, 1.25, 1.5, 2.0, 4.0)


def plan(trained_length: int) -> tuple[Line, ...]:
    """For a small model: every row under a base of its own, much the dearest line, at the end."""
    lines = crossing(trained_length, per_query=DYNAMIC, multiples=MULTIPLES)
    return tuple(sorted(lines, key=lambda line: line.method == DYNAMIC))


def crossing(
    trained_length: int, *, per_query: str, multiples: tuple[float, ...]
) -> tuple[Line, ...]:
    """The lines at these multiples of the trained length."""
    lines = (
        ("none", "full"),
        (per_query, "full"),
        (WHOLE_SEQUENCE, "full"),
        (AT_BIRTH, "stream"),
        (SIMULATED, "full"),
        (ALPHA_ONE, "full"),
        (AT_BIRTH, "full"),
    )
    full = tuple(Line(method=method, multiples=multiples, mode=mode) for method, mode in lines)
    return (*full, *_prompted(trained_length, multiples))


def prompt_mode(trained_length: int, length: int) -> str:
    """All but the last L0 / 8 tokens come as one prompt; these are decoded one by one."""
    return f"stream:{length - trained_length // 8}"


def _prompted(trained_length: int, multiples: tuple[float, ...]) -> tuple[Line, ...]:
    """A prompt within the trained length changes nothing: frequencies are constant there."""
    beyond = [each for each in multiples if each > 1.125]
    return tuple(
        Line(
            method=AT_BIRTH,
            multiples=(each,),
            mode=prompt_mode(trained_length, round(each * trained_length)),
        )
        for each in beyond
    )
