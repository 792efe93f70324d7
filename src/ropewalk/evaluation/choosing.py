"""What a comparison measures where nothing is said: what ends within some minutes here.

Seconds are estimated from a timed pass (``cost.py``). Of the rungs below the first that fits is
taken: the longest lengths come first, then the most methods, then the most windows.

    lengths   0.5 to 8, to 4, to 2 trained lengths; 1 and 2; below that, ever shorter ones
    methods   all; one of each idea; two
    windows   as the protocol says; four

Lengths within the trained length leave nothing to extend: there, methods show what they cost.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cost import CostModel, Probe
from ropewalk.evaluation.request import DEFAULT_MULTIPLES, Request
from ropewalk.evaluation.run import Run
from ropewalk.methods.spec import NATIVE
from ropewalk.storage.files import write_whole

SECONDS = 300.0
SHARE = 0.6
"""Of the seconds, may be estimated: an estimate is good to a factor of about two."""
IDEAS = (NATIVE, "none", "yarn", "dynamic_ntk:step=32", "self_extend")
PAIR = (NATIVE, "none", "yarn")
WITHIN = (NATIVE, "none", "yarn:factor=2")
FEW_WINDOWS = 4
BEYOND = (DEFAULT_MULTIPLES, DEFAULT_MULTIPLES[:4], DEFAULT_MULTIPLES[:3], ("1x", "2x"))
SHORTER = tuple((f"{1 / 2 ** (n + 1)}x", f"{1 / 2**n}x") for n in range(5))
KEPT_AS = "chosen.json"

Prepare = Callable[[Request], Run]
"""A request, of a model that is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and the whole that it was chosen from.

    asked                   what it was chosen for
    seconds, whole_seconds  of both, estimated from ``probe``
    """

    asked: Request
    request: Request
    seconds: float
    whole: Request
    whole_seconds: float
    probe: Probe

    @property
    def budget(self) -> float:
        """Seconds after which nothing more begins, whatever was estimated."""
        return SECONDS if self.seconds <= SHARE * SECONDS else 2 * self.seconds

    def record(self) -> dict[str, Any]:
        """As a JSON object; ``flags`` and ``whole`` are what a command adds to ask for them.

        The whole has the windows that were chosen: with others its run folder would be another.
        """
        return {
            "within_seconds": SECONDS,
            "probe": asdict(self.probe),
            "estimated_seconds": self.seconds,
            "flags": flags(self.request),
            "whole": flags(replace(self.whole, windows=self.request.windows)),
            "whole_seconds": self.whole_seconds,
        }

    def keep(self, folder: Path) -> None:
        """Beside the cells, so that the same command goes on with the same ones."""
        own = {name: _words(getattr(self, name)) for name in ("asked", "request", "whole")}
        times = {"seconds": self.seconds, "whole_seconds": self.whole_seconds}
        content = {**own, **times, "probe": asdict(self.probe)}
        write_whole(folder / KEPT_AS, json.dumps(content, indent=1).encode())

    @classmethod
    def kept(cls, folder: Path, request: Request) -> "Choice | None":
        """That of an earlier run of the folder for the same request, or None."""
        try:
            content = json.loads((folder / KEPT_AS).read_text("utf-8"))
            if content["asked"] != _words(request):
                return None
            return cls(
                asked=request,
                probe=Probe(**content["probe"]),
                request=_asked(request, content["request"]),
                whole=_asked(request, content["whole"]),
                seconds=float(content["seconds"]),
                whole_seconds=float(content["whole_seconds"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def open_to_choice(request: Request) -> bool:
    """Whether methods or lengths are left open."""
    return not request.lines and not (request.methods and request.lengths)


def choose(request: Request, methods: Sequence[str], prepare: Prepare, cost: CostModel) -> Choice:
    """The first rung that fits; where none does, the cheapest that can be measured.

    methods  all that are compared by default

    Raises RopewalkError where no rung can be measured: as the first.
    """
    measurable: list[tuple[float, Request]] = []
    refusals: list[RopewalkError] = []
    for rung in rungs(request, methods):
        try:
            measurable.append((_seconds(prepare(rung), cost), rung))
        except RopewalkError as error:
            refusals.append(error)
            continue
        if measurable[-1][0] <= SHARE * SECONDS:
            break
    if not measurable:
        raise refusals[0]
    fits = measurable[-1][0] <= SHARE * SECONDS
    seconds, taken = measurable[-1] if fits else min(measurable, key=lambda each: each[0])
    whole_seconds, whole = measurable[0]
    return Choice(
        asked=request,
        probe=cost.probe or Probe(tokens=0, seconds=0.0),
        request=taken,
        seconds=seconds,
        whole=whole,
        whole_seconds=whole_seconds,
    )


def rungs(request: Request, methods: Sequence[str]) -> Iterator[Request]:
    """From the whole down, with what the request states as it is."""
    beyond = (request.lengths,) if request.lengths else BEYOND
    for lengths in beyond:
        yield from _of_lengths(request, methods, lengths)
    if not request.lengths:
        own = request.methods or (_among(WITHIN, methods) if len(methods) > 1 else methods)
        for lengths in SHORTER:
            yield _rung(request, own, lengths, FEW_WINDOWS)


def flags(request: Request) -> list[str]:
    """Methods, lengths and windows as words of a command."""
    named = [("--method", each) for each in request.methods]
    sized = [("--length", str(each)) for each in request.lengths]
    spread = [] if request.windows is None else [("--windows", str(request.windows))]
    return [word for pair in (*named, *sized, *spread) for word in pair]


def _of_lengths(
    request: Request, methods: Sequence[str], lengths: Sequence[int | str]
) -> Iterator[Request]:
    if request.methods:
        yield _rung(request, request.methods, lengths, None)
        yield _rung(request, request.methods, lengths, FEW_WINDOWS)
        return
    ideas, pair = _among(IDEAS, methods), _among(PAIR, methods)
    for own, windows in (
        (methods, None),
        (ideas, None),
        (ideas, FEW_WINDOWS),
        (pair, FEW_WINDOWS),
    ):
        yield _rung(request, own, lengths, windows)


def _rung(
    request: Request, methods: Sequence[str], lengths: Sequence[int | str], windows: int | None
) -> Request:
    return replace(
        request,
        methods=tuple(methods),
        lengths=tuple(lengths),
        windows=request.windows if request.windows else windows,
    )


def _among(some: Sequence[str], methods: Sequence[str]) -> tuple[str, ...]:
    """Those that are compared by default; ``native`` is where it is not plain RoPE."""
    return tuple(each for each in some if each in methods or each not in (NATIVE, *IDEAS))


def _seconds(run: Run, cost: CostModel) -> float:
    """Of all cells that can be measured, estimated. Raises RopewalkError where none can be."""
    total, refusal = 0.0, None
    for one in run.series:
        task, lengths = run.setting.task_of(one.task), []
        for length in one.lengths:
            try:
                task.check(length)
                lengths.append(length)
            except RopewalkError as error:
                refusal = error
        for group in task.groups(tuple(sorted(set(lengths))), one.sharing):
            total += task.cost(group, one.split)
    if refusal is not None and not total:
        raise refusal
    return cost.seconds(total)


def _words(request: Request) -> dict[str, Any]:
    return {
        "methods": list(request.methods),
        "lengths": list(request.lengths),
        "windows": request.windows,
    }


def _asked(request: Request, words: Mapping[str, Any]) -> Request:
    return replace(
        request,
        methods=tuple(words["methods"]),
        lengths=tuple(words["lengths"]),
        windows=words["windows"],
    )
