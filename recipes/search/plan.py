"""The searches: each of the demo model at 8 times its trained length."""

from dataclasses import dataclass

LENGTH = "8x"
DOCUMENTS = (4, 4, 16)
"""To search, to choose and to test on."""
START_TOKENS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""LongRoPE's n, on the powers of two up to the trained length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRun:
    """One search.

    name         its key in the results
    evaluations  the way's budget, each on all search documents; None: to the way's own end
    start_tokens, objective  of ``ropewalk.searching.request.Request``
    """

    name: str
    way: str
    evaluations: int | None = None
    objective: str = "loss"
    start_tokens: tuple[int, ...] = (0,)


DEFAULT = SearchRun(name="ramp", way="ramp")
PUBLISHED = SearchRun(name="evolution", way="evolution")
NEEDLE = SearchRun(name="ramp, needle loss", way="ramp", objective="needle")
STARTS = SearchRun(name="ramp, start tokens", way="ramp", start_tokens=START_TOKENS)
RUNS = (
    DEFAULT,
    SearchRun(name="cmaes", way="cmaes", evaluations=40),
    SearchRun(name="gradient", way="gradient", evaluations=40),
    SearchRun(name="segments", way="segments", evaluations=40),
    NEEDLE,
    STARTS,
    PUBLISHED,
)
"""The last takes an hour of a core."""
