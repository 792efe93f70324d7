"""Figures with their intervals, as text."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from ropewalk.reporting.table import perplexity_text


class CellFigures(Protocol):
    """A cell's loss in nats and its interval."""

    @property
    def nll(self) -> float | None: ...
    @property
    def ci95(self) -> tuple[float, float] | None: ...


def ppl(nats: float) -> str:
    """The perplexity of a loss."""
    return "inf" if nats > 700 else perplexity_text(math.exp(nats))


def ppl_interval(cell: CellFigures) -> str:
    """``90.69 [84.1, 97.2]``, or the perplexity alone."""
    if cell.nll is None:
        return "-"
    if cell.ci95 is None:
        return ppl(cell.nll)
    return f"{ppl(cell.nll)} [{ppl(cell.ci95[0])}, {ppl(cell.ci95[1])}]"


def signed_interval(value: float, ci95: Sequence[Any] | None) -> str:
    """``+0.012 [-0.003, +0.027]``, or the difference alone."""
    if ci95 is None:
        return f"{value:+.3f} (one sample: no interval)"
    return f"{value:+.3f} [{ci95[0]:+.3f}, {ci95[1]:+.3f}]"
