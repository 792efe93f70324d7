"""What the figures just past the trained length say about what was reported of them."""

from collections.abc import Iterator, Mapping

from ropewalk.reporting.table import perplexity_text

Line = Mapping[int, float]
"""Perplexity by length."""

CLEARLY = 1.02
"""Perplexities within 2 % of each other count as the same."""


def findings(
    *,
    one_base: Line,
    simulated: Line,
    streamed: Line,
    prompted: Line,
    alpha_one: Line,
    trained: int,
) -> str:
    """A bullet for each claim, with its figures: that it holds, or that it does not."""
    past = [length for length in one_base if length > trained]
    bullets = (
        _stays_low(one_base, past, trained),
        _jumps(simulated, past, trained),
        _stream(one_base, simulated, streamed, past),
        _prompt(one_base, prompted),
        _crossing(one_base, alpha_one, past),
    )
    return "".join(f"- {bullet}\n" for bullet in bullets)


def _stays_low(line: Line, past: list[int], trained: int) -> str:
    known = line[trained]
    still = [n for n in past if all(line[m] < known * CLEARLY for m in past if m <= n)]
    end = past[-1]
    close = (
        f"stays within 2 % of the {perplexity_text(known)} at the trained length up to "
        f"{still[-1]:,}"
        if still
        else f"leaves the {perplexity_text(known)} of the trained length at once"
    )
    return (
        f"**Queries and keys on one base stay low.** The perplexity {close}, and is "
        f"{perplexity_text(line[end])} at {end:,}."
    )


def _jumps(line: Line, past: list[int], trained: int) -> str:
    known, peak, end = line[trained], max(past, key=lambda n: line[n]), past[-1]
    jumped = line[peak] > known * CLEARLY**5
    improved = line[end] * CLEARLY < line[peak]
    verdict = "holds" if jumped and improved else "does not hold"
    return (
        f"**Keys frozen at birth are far worse just past the trained length, and then improve: "
        f"{verdict} for the published simulation.** From {perplexity_text(known)} it goes to "
        f"{perplexity_text(line[peak])} at {peak:,}, and ends at {perplexity_text(line[end])} at "
        f"{end:,}."
    )


def _stream(one_base: Line, simulated: Line, streamed: Line, past: list[int]) -> str:
    peak = max(past, key=lambda n: simulated[n] / one_base[n])
    worst = max(past, key=lambda n: streamed[n] / one_base[n])
    return (
        "**A true stream shows much less.** There a query has its own base, not that of the whole "
        f"sequence. The simulation is at most {_percent(simulated[peak] / one_base[peak])} above "
        f"one base (at {peak:,}), decoding token by token at most "
        f"{_percent(streamed[worst] / one_base[worst])} (at {worst:,})."
    )


def _prompt(one_base: Line, prompted: Line) -> str:
    worst = max(prompted, key=lambda n: prompted[n] / one_base[n])
    return (
        "**After a long prompt it is between the two.** Keys of a prompt were all written under "
        "the prompt's base, while its queries had their own: at most "
        f"{_percent(prompted[worst] / one_base[worst])} above one base (at {worst:,})."
    )


def _crossing(alpha_two: Line, alpha_one: Line, past: list[int]) -> str:
    end = past[-1]
    crossing = next(iter(_from_here_above(alpha_one, alpha_two, past)), None)
    ends = f"{perplexity_text(alpha_one[end])} against {perplexity_text(alpha_two[end])} at {end:,}"
    if crossing is None:
        return f"**Alpha 1 is good at first and crosses above: does not hold** here ({ends})."
    before = [n for n in past if n < crossing]
    first = "is no worse than alpha 2" if before else "is worse than alpha 2 at once"
    upto = f" up to {before[-1]:,}" if before else ""
    return (
        f"**Alpha 1 is good at first and crosses above: {'holds' if before else 'half holds'}.** "
        f"It {first}{upto}, and ends above it ({ends})."
    )


def _from_here_above(line: Line, other: Line, lengths: list[int]) -> Iterator[int]:
    """Lengths from which on ``line`` is clearly above ``other``."""
    for index, length in enumerate(lengths):
        if all(line[n] > other[n] * CLEARLY for n in lengths[index:]):
            yield length


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):,.0f} %"


def frozen_against_nothing(streamed: Line, plain: Line, one_base: Line, trained: int) -> str:
    """Where a true stream is worst beside plain RoPE, which nobody extended."""
    beyond = [n for n in streamed if n > trained and n in plain and n in one_base]
    worst = max(beyond, key=lambda n: streamed[n] / plain[n])
    if streamed[worst] <= plain[worst]:
        return (
            "- **Keys frozen at birth are better than nothing.** In a true stream they are nowhere "
            "worse than plain RoPE.\n"
        )
    frozen, unscaled, shared = (
        perplexity_text(line[worst]) for line in (streamed, plain, one_base)
    )
    return (
        f"- **Keys frozen at birth are worse than nothing.** At {worst:,} tokens a true stream is "
        f"at {frozen}, plain RoPE, which nothing extended, at {unscaled}, and one base at "
        f"{shared}.\n"
    )
