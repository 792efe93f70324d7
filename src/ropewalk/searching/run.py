"""A search from its first fixed schedule to the verdict.

search documents   fixed schedules are raced, then the way looks for something better
choice documents   the finalists of the way, and the fixed schedules that the race left
test documents     the best finalist against these fixed schedules; nothing is chosen on them
                   but the best fixed schedule, which makes the bar higher
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ropewalk.core.errors import RopewalkError
from ropewalk.searching.candidate import Candidate, Schedule
from ropewalk.searching.measure import Measure
from ropewalk.searching.outcome import Outcome, Row, ordered, row_of
from ropewalk.searching.trials import INFEASIBLE, Allowance, Trials
from ropewalk.searching.ways.way import Problem, Way

FINALISTS = 4
FOUND = "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """A callable for each part of the documents, and the documents of each.

    Documents of one panel are numbered from 0; no text stands in two of them.
    """

    search: Measure
    choice: Measure
    test: Measure
    documents: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What competes.

    fixed       the bar: schedules without a search
    ramp        stands beside the winner, and is a finalist
    tried       schedules that are no bar, and finalists where they do as well as the way's own
    finalists   of the way, that are measured on the choice documents
    """

    fixed: Sequence[Schedule]
    ramp: Schedule
    tried: Sequence[Schedule] = ()
    finalists: int = FINALISTS


def opening(contest: Contest, trials: Trials) -> tuple[Schedule, ...]:
    """Race the fixed schedules, then the others; those of the fixed ones that no interval drops.

    Raises RopewalkError if none can be measured.
    """
    trials.race([each.candidate for each in contest.fixed])
    for others in (contest.tried, [contest.ramp]):
        trials.race([each.candidate for each in others])
    left = [
        each for each in contest.fixed if len(trials.scores[each.candidate]) == trials.documents
    ]
    usable = [each for each in left if trials.value(each.candidate) < INFEASIBLE]
    if not usable:
        raise RopewalkError(
            "no fixed schedule has a finite loss on the search documents: expected a model that "
            "runs at this length; try float32, or a shorter --length"
        )
    best = min(usable, key=lambda each: trials.value(each.candidate))
    return tuple(each for each in usable if not trials.worse(each.candidate, best.candidate))


Plan = Callable[[Trials, int], Allowance]
"""The allowance of the way, after the opening; told how many fixed schedules are left."""


def search(
    way: Way, problem: Problem, contest: Contest, panels: Panels, trials: Trials, plan: Plan
) -> Outcome:
    """Search, choose, test. Raises RopewalkError as ``opening``."""
    fixed = opening(contest, trials)
    trials.allowance, trials.opened = plan(trials, len(fixed)), True
    started = replace(problem, starts=[each.candidate for each in fixed])
    ended = way.run(started, trials)
    finalists = _finalists(contest, trials)
    known = (*contest.tried, *contest.fixed, contest.ramp)
    names = {each.candidate: each.name for each in known}
    bars = [each.candidate for each in fixed]
    choice = _whole(panels.choice, panels.documents[1], [*finalists, *bars], trials)
    chosen = min(finalists, key=choice.value)
    test = _whole(panels.test, panels.documents[2], [chosen, contest.ramp.candidate, *bars], trials)

    def row(schedule: Schedule) -> Row:
        candidate = schedule.candidate
        made = row_of(schedule, _value(trials, candidate), _value(choice, candidate))
        values = tuple(score.value for score in test.scores.get(candidate, ()))
        return replace(made, tested=values)

    return Outcome(
        fixed=ordered([row(each) for each in contest.fixed]),
        ramp=row(contest.ramp),
        chosen=row(Schedule(name=names.get(chosen, FOUND), candidate=chosen)),
        curve=tuple(trials.curve),
        own=tuple(trials.own),
        units=trials.units,
        documents=panels.documents,
        ended=ended,
    )


def _finalists(contest: Contest, trials: Trials) -> list[Candidate]:
    """The best of what the way found, and the ramp where it was not dropped."""
    fixed = {each.candidate for each in contest.fixed}
    ranked = [each for each in trials.ranked() if each not in fixed]
    best = ranked[: contest.finalists]
    return list(dict.fromkeys([*best, contest.ramp.candidate]))


def _whole(
    measure: Measure, documents: int, candidates: Sequence[Candidate], searched: Trials
) -> Trials:
    """All candidates on all documents of a panel."""
    panel = Trials(
        measure=measure,
        documents=documents,
        allowance=Allowance(),
        short_limit=searched.short_limit,
        told=searched.told,
    )
    panel.on(candidates, documents)
    return panel


def _value(trials: Trials, candidate: Candidate) -> float | None:
    """Over all documents; None for one that was dropped, failed or not measured."""
    whole = len(trials.scores.get(candidate, ())) == trials.documents
    value = trials.value(candidate) if whole else INFEASIBLE
    return value if value < INFEASIBLE else None
