"""Which of several encodings a server computes, from what it told of one sequence.

An encoding is identified if its mean difference is at most a third of every other's and small
enough to be that of weights and cache in few bits, and if the differences lean towards no other
encoding: rounding leans nowhere, another factor or base does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.core.observation import Unit

SHARE = 1 / 3
"""Of the runner-up's mean difference."""
FLOOR = 0.1
"""The largest mean difference that few bits explain: in nats 4-bit weights give 0.06, bfloat16
0.015; of a unit vector it is a cosine of 0.995."""
FEW_BITS = 0.03
"""From here on it is more than bfloat16 gives."""
LEAN = 0.15
"""Share of the way to a neighbour: rounding at 1,000 rows stays below a hundredth."""
STANDARD_ERRORS = 4.0
SAME = 1e-4
"""Mean difference of two encodings that are one but for the rounding of float32."""
RUN = 8
"""Rows that show whether a departure lasts."""
NOISE = 5.0
"""Times the identified encoding's mean difference, beyond which a row departs."""
LEAST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """One encoding beside the server.

    name       in words
    findings   kinds of audit finding that explain it
    signed     float64 ``[r, k]``: the server's numbers minus its own
    """

    name: str
    findings: tuple[str, ...] = ()
    signed: Tensor

    @property
    def by_row(self) -> Tensor:
        """Mean absolute difference of each row, NaN where the server told no number."""
        return self.signed.abs().mean(dim=-1)

    @property
    def mean(self) -> float:
        """Over the rows with numbers; infinite where there are none."""
        known = self.by_row[self.by_row.isfinite()]
        return float(known.mean()) if len(known) else float("inf")

    @property
    def largest(self) -> float:
        known = self.by_row[self.by_row.isfinite()]
        return float(known.max()) if len(known) else float("inf")


def distinct(candidates: Sequence[Residuals]) -> list[Residuals]:
    """Without those that differ from an earlier one nowhere."""
    kept: list[Residuals] = []
    for each in candidates:
        if all(_apart(each, other) > SAME for other in kept):
            kept.append(each)
    return kept


def _apart(one: Residuals, other: Residuals) -> float:
    gaps = (one.signed - other.signed).abs()
    known = gaps[gaps.isfinite()]
    return float(known.mean()) if len(known) else 0.0


def nearest(candidates: Sequence[Residuals]) -> tuple[Residuals, Residuals | None]:
    """The one with the least mean difference, and the runner-up."""
    ordered = sorted(candidates, key=lambda each: each.mean)
    return ordered[0], ordered[1] if len(ordered) > 1 else None


def stands_out(best: Residuals, runner: Residuals | None) -> bool:
    """Whether the differences alone identify the best."""
    near = best.mean <= FLOOR
    return near and (runner is None or best.mean <= SHARE * runner.mean)


def leans_to(best: Residuals, neighbours: Sequence[Residuals]) -> str | None:
    """The neighbour on whose side the server is, None where it is on nobody's.

        t = sum (s - b)(c - b) / sum (c - b)^2

    b   the best, c   the neighbour, s   the server, in nats of each row and token. Rounding is
    independent of c - b, so that t is 0 within its standard error.
    """
    return next((each.name for each in neighbours if _leans(best, each)), None)


def _leans(best: Residuals, neighbour: Residuals) -> bool:
    error, way = best.signed.flatten(), (best.signed - neighbour.signed).flatten()
    known = error.isfinite() & way.isfinite()
    error, way = error[known], way[known]
    length = float(way.square().sum())
    if length <= 0:
        return False
    share = float((error * way).sum()) / length
    spread = float(((error - share * way) * way).square().sum()) ** 0.5 / length
    return bool(abs(share) > max(LEAN, STANDARD_ERRORS * spread))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """What comes of a comparison.

    candidates  what was asked first
    identified  what the server computes; None: cannot be told
    doubt       why not, in words
    undefined   whether the server told something that is no number
    unit        of differences
    """

    candidates: Sequence[Residuals]
    identified: Residuals | None
    doubt: str
    undefined: bool
    unit: Unit = Unit.NATS

    @classmethod
    def of(
        cls,
        candidates: Sequence[Residuals],
        neighbours: Sequence[Residuals],
        unit: Unit = Unit.NATS,
        *,
        rows: Tensor | None = None,
        table_ends: Collection[int] = (),
    ) -> "Judgement":
        """What comes of the candidates.

        neighbours  of the nearest candidate
        rows        int64 ``[r]``: positions, where a table that ends may be recognised
        table_ends  rows that a table may have
        """
        undefined = not bool(candidates[0].signed.isfinite().all())
        best, runner = nearest(candidates)
        leaning = leans_to(best, neighbours)
        known = stands_out(best, runner) and leaning is None
        found = best if known else None
        if found is not None and undefined:
            found = _short_table(found, rows, table_ends)
        return cls(
            candidates=candidates,
            identified=found,
            doubt=_doubt(best, runner, leaning, unit),
            undefined=undefined,
            unit=unit,
        )

    @property
    def noise(self) -> float:
        """Mean difference that is no departure."""
        return FLOOR / NOISE if self.identified is None else self.identified.mean


def _short_table(
    best: Residuals, rows: Tensor | None, table_ends: Collection[int]
) -> Residuals | None:
    """What stands out over the rows with numbers, if all others lie behind the end of a table."""
    if rows is None:
        return None
    told = best.signed.isfinite().all(dim=-1)
    count = int(told.sum())
    end = int(rows[count]) if count < len(rows) else -1
    # Where few positions are told of, the first without a number says little of where they began.
    whole = count > 0 and int(rows[count - 1]) == end - 1
    # The last position of a prompt that was told of whole is not told of.
    end = end if end in table_ends else end + 1
    if not whole or end not in table_ends or bool(told[count:].any()):
        return None
    name = f"{best.name} inside a table of {end:,} rows"
    return replace(best, name=name, findings=("short-table",))


def _doubt(best: Residuals, runner: Residuals | None, leaning: str | None, unit: Unit) -> str:
    nearest = f"nearest is {best.name}, {best.mean:.2g} {unit.value} away"
    if best.mean > FLOOR:
        return f"{nearest}, more than few bits explain"
    if not stands_out(best, runner) and runner is not None:
        return f"{nearest}, and {runner.name} ({runner.mean:.2g}) is too close to it"
    return f"{nearest}, and the differences point to {leaning}"


def departure(asked: Residuals, rows: Tensor, noise: float) -> int | None:
    """The first row from which the server lastingly departs from what was asked.

    noise  mean difference that is no departure
    """
    differs = asked.by_row.nan_to_num(nan=torch.inf) > max(NOISE * noise, LEAST)
    for place in torch.nonzero(differs).flatten().tolist():
        ahead = differs[place : place + RUN].double()
        if float(ahead.mean()) >= 0.5:
            return int(rows[place])
    return None
