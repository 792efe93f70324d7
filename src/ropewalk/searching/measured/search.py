"""A search of a loaded model: its documents, its callables, and its plan in a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ropewalk.core.language_model import LanguageModel
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.folders import default_run_folder
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.runs import RunFolder
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.stretches import (
    Parts,
    parts,
    require_different,
    require_room,
    stretches,
)
from ropewalk.evaluation.tasks.generator import Generator
from ropewalk.evaluation.tasks.longppl import KeyTokens, longppl
from ropewalk.evaluation.tasks.table import Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.methods.parameters import require_nameable
from ropewalk.searching.budget import (
    FINALIST_BARS,
    SIZES,
    Budget,
    Sizes,
    closing_units,
    sizes_for,
)
from ropewalk.searching.measured.bench import Bench, Panel
from ropewalk.searching.measured.contestants import Contestants, Subject
from ropewalk.searching.outcome import Outcome
from ropewalk.searching.request import Request, read_objective, read_way
from ropewalk.searching.run import Panels, search
from ropewalk.searching.trials import Allowance, Trials
from ropewalk.searching.ways.way import Problem
from ropewalk.storage.folders import Folder, Key
from ropewalk.storage.version import code_version

Stretches = Sequence[Sequence[Document]]
"""Of each text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Files to search and choose on, and to test on; without the latter, the ends of the first."""

    search: Sequence[Path]
    heldout: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Everything that a search needs but its budget.

    texts, heldout  stretches of N tokens of each text
    keys             of the term ``longppl``, by the digest of a stretch
    """

    bench: Bench
    asked: Request
    against: Contestants
    folder: Folder
    texts: Stretches
    heldout: Stretches
    keys: Mapping[str, KeyTokens]

    def run(self, budget: Budget, told: Callable[[Trials, int, int], None]) -> Outcome:
        """Search, choose, test.

        told  called after each measurement, with the units of the way and of what follows it,
              by estimate

        Raises RopewalkError for texts that are too short, and where nothing can be measured.
        """
        sizes = self.sizes(budget)
        dealt = parts(self.texts, sizes, self.heldout)
        problem, way = self._problem(dealt), read_way(self.asked.way)
        units, closing = way.units(problem, sizes[0]), closing_units(*sizes[1:], FINALIST_BARS)
        trials = Trials(
            measure=self._panel(dealt.search, 0),
            documents=sizes[0],
            short_limit=self.asked.short_within,
            told=lambda trials: told(trials, units, closing),
        )
        return search(
            way,
            problem,
            self.against.contest,
            Panels(
                search=trials.measure,
                choice=self._panel(dealt.choice, sizes[0]),
                test=self._panel(dealt.test, sizes[0] + sizes[1]),
                documents=sizes,
            ),
            trials,
            lambda trials, bars: self._allowance(trials, bars, sizes, budget),
        )

    def sizes(self, budget: Budget) -> Sizes:
        """Asked for, or planned before, or what text and budget allow."""
        if self.asked.documents is not None:
            return self.asked.documents
        planned = self._load("documents", budget)
        if planned is not None:
            first, second, third = planned
            return first, second, third
        require_room(self.texts, sum(SIZES[-1][: 2 if self.heldout else 3]))
        if budget.seconds is not None:
            self._panel(self.texts[0][:1], 0)([self.against.contest.fixed[0].candidate], range(1))
        sizes = sizes_for(budget.units(), self._has_room)
        self._save("documents", budget, list(sizes))
        return sizes

    def _has_room(self, sizes: Sizes) -> bool:
        texts, heldout = (sum(map(len, each)) for each in (self.texts, self.heldout))
        if self.heldout:
            return sum(sizes[:2]) <= texts and sizes[2] <= heldout
        return sum(sizes) <= texts

    def _allowance(self, trials: Trials, bars: int, sizes: Sizes, budget: Budget) -> Allowance:
        """Planned once: a search that was stopped goes on with the plan that it began with."""
        closing = closing_units(sizes[1], sizes[2], bars)
        planned = self._load("units", budget)
        if planned is not None:
            return budget.planned(planned[0], closing)
        most = self.asked.evaluations
        limit = None if most is None else trials.units + most * sizes[0]
        allowance = budget.allowance(limit, trials.units, closing)
        self._save("units", budget, [allowance.units])
        return allowance

    def _problem(self, dealt: Parts) -> Problem:
        return Problem(
            geometry=self.against.geometry,
            length=self.against.reach or self.bench.length,
            starts=[each.candidate for each in self.against.contest.fixed],
            start_tokens=self.asked.start_tokens,
            seed=self.asked.seed,
            slope=self._panel(dealt.search, 0).slope,
            over=self.against.over,
        )

    def _panel(self, documents: Sequence[Document], first: int) -> Panel:
        return Panel(
            bench=self.bench,
            documents=tuple(documents),
            first=first,
            keys=[self.keys[each.digest] for each in documents] if self.keys else (),
            plain=self.against.contest.fixed[0].candidate,
        )

    def _load(self, what: str, budget: Budget) -> list[Any] | None:
        found = self.folder.load(self._key(what, budget))
        return None if found is None else list(found["planned"])

    def _save(self, what: str, budget: Budget, planned: list[Any]) -> None:
        self.folder.save(self._key(what, budget), {"planned": planned})

    def _key(self, what: str, budget: Budget) -> Key:
        asked = {name: getattr(self.asked, name) for name in self.asked.__slots__}
        return Key.of({"plan": what, "budget": budget.seconds, **asked})


def searched(
    subject: Subject,
    asked: Request,
    against: Contestants,
    length: int,
    *,
    texts: Texts,
    out: str | Path | None,
    executor: Executor | None = None,
    batch: int = 1,
    pinned: float | None = None,
) -> Search:
    """A search, its folder claimed; ``pinned`` as in ``Bench``.

    Raises RopewalkError for bad input.
    """
    read, kept = (
        [Document.read(text, subject.tokenizer) for text in files]
        for files in (texts.search, texts.heldout)
    )
    require_different((*read, *kept))
    place = Path(out or default_run_folder(subject.name, "search"))
    require_nameable(place)
    scored = asked.tail_tokens or max(1, length // 4)
    setting = _setting(subject, (*read, *kept), scored)
    pieces: Stretches = [stretches(each, length) for each in read]
    tested: Stretches = [stretches(each, length) for each in kept]
    require_room(pieces, sum((asked.documents or SIZES[-1])[: 2 if kept else 3]))
    setting.protocol.check(length, next(chain(*pieces)))
    manifest = {**setting.manifest(), "command": "search", "length": length, "pinned": pinned}
    folder = Folder.open(place, manifest)
    objective, keys = read_objective(asked.objective), dict[str, KeyTokens]()
    if objective.has("longppl"):
        keys = _keys([*pieces, *tested], subject.model, setting)
        pieces, tested = ([_with(each, keys) for each in every] for every in (pieces, tested))
    bench = Bench(
        setting=setting,
        source=subject.source,
        store=RunFolder(folder),
        length=length,
        tokens=scored,
        objective=objective,
        needles=_needles(subject, texts.search) if objective.has("needle") else None,
        short=None if asked.short_within is None else setting.trained_length,
        executor=executor,
        batch=batch,
        pinned=pinned,
    )
    return Search(
        bench=bench,
        asked=asked,
        against=against,
        folder=folder,
        texts=pieces,
        heldout=tested,
        keys=keys,
    )


def _setting(subject: Subject, documents: tuple[Document, ...], scored: int) -> Setting:
    return Setting(
        model=subject.name,
        trained_length=subject.geometry.trained_length,
        weights=subject.weights,
        dtype=subject.dtype,
        documents=documents,
        code_version=code_version(),
        protocol=Tail(tokens=scored, windows=1),
    )


def _needles(subject: Subject, files: Sequence[Path]) -> tuple[Generator, Tokens]:
    """What hides a number in the texts, and the tokens that it is made of."""
    prose = [text.read_text("utf-8") for text in files]
    materials = Materials(tokens=Tokens.of(subject.tokenizer), texts=prose)
    return generator("needle", materials), materials.tokens


def _keys(texts: Stretches, model: LanguageModel, setting: Setting) -> dict[str, KeyTokens]:
    """Key tokens of each stretch that has any, found by the model as it ships."""
    trained = setting.trained_length
    every = tuple(each for text in texts for each in text)
    require_room(texts, 1)
    own = replace(setting, documents=every, protocol=Tail(tokens=max(1, trained // 4), windows=1))
    task = longppl(own.task, model, trained, "the model as it ships")
    return {every[document].digest: key for (document, _), key in task.keys.items()}


def _with(text: Sequence[Document], keys: Mapping[str, KeyTokens]) -> Sequence[Document]:
    return [each for each in text if each.digest in keys]
