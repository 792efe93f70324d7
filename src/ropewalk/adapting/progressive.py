"""LongRoPE's progressive extension: search, tune, search again, then a list for short contexts.

Source: Ding et al. 2024, LongRoPE, arXiv:2402.13753, section 3.4.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

from ropewalk.adapting.course import AGAIN, BASE, CHECKPOINT, FOUND, SHARES, SHORT, TUNED, Course
from ropewalk.adapting.search import SearchJob
from ropewalk.adapting.tuning import TuneJob
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import TRANSFORMERS
from ropewalk.engines.export.portable import require_computed
from ropewalk.evaluation.stretches import parts
from ropewalk.integrations.folders import CONFIG
from ropewalk.integrations.sources import fetch, read_config
from ropewalk.opening.shapes import shape_of
from ropewalk.opening.subjects import search_subject
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measured.bench import Bench
from ropewalk.searching.measured.contestants import Contestants
from ropewalk.searching.measured.effects import Effect, effects
from ropewalk.searching.measured.result import Told, finished
from ropewalk.searching.measured.search import Search, Texts, searched
from ropewalk.shipping.folder import ship_folder
from ropewalk.storage.files import write_whole

STAGES = ("search", "tune", "search again", "short list")
"""As progress names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What was found for the tuned model: its second search and its short list.

    again, short  their documents; ``long`` is the second search itself
    method        the spec that says both
    """

    again: dict[str, Any]
    short: dict[str, Any]
    long: Search
    method: str


def extended(course: Course, progress: Told) -> dict[str, Any]:
    """Go through all stages; the document of ``ropewalk adapt``. RopewalkError for bad input."""
    first = _found(course, _within(progress, 0))
    trained = _tuned(course, first["method"], _within(progress, 1))
    lists = _after_training(course, _candidate(first), progress)
    progress("effects", 1.0)
    document = {
        "model": trained["model"],
        "trained_length": course.trained,
        "tuned_length": course.tuned,
        "length": course.length,
        "stages": {
            "search": first["verdict"],
            "search again": lists.again["verdict"],
            "short": lists.short["verdict"],
        },
        "effects": _effects(course, _candidate(first), lists),
        "method": lists.method,
        "checkpoint": str(course.out / CHECKPOINT),
        "seconds": time.monotonic() - course.begun,
    }
    _ship(course, lists.method, trained["steps"])
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(course.out / "adapt.json", text.encode())
    return document


def _within(progress: Told, stage: int) -> Told:
    """Of the whole, what a stage tells of itself."""
    name, before, own = STAGES[stage], sum(SHARES[:stage]), SHARES[stage]
    return lambda work, share: progress(f"{name}: {work}", before + own * share)


def _found(course: Course, progress: Told) -> dict[str, Any]:
    """The first search, at the length of the training."""
    job = SearchJob(
        source=course.source,
        length=course.tuned,
        request=course.asked,
        texts=course.heldout,
        out=course.out / FOUND,
        budget=course.seconds(0),
        device=course.device,
    )
    return job.run(progress)


def _tuned(course: Course, method: str, progress: Told) -> dict[str, Any]:
    """The training under what the first search found."""
    job = TuneJob(
        source=course.source,
        request=course.request(method),
        texts=course.texts,
        heldout=course.heldout,
        out=course.out / TUNED,
        budget=course.seconds(1),
        device=course.device,
    )
    return job.run(progress)


def _after_training(course: Course, tuned: Candidate, progress: Told) -> Lists:
    subject = search_subject(course.out / TUNED, "float32", course.device)
    trained, asked, texts = course.trained, course.asked, Texts(search=course.heldout)
    over = Contestants.over_tuned(subject, tuned, course.tuned, course.length)
    long = searched(subject, asked, over, course.length, texts=texts, out=course.out / AGAIN)
    again = finished(long, course.seconds(2), time.monotonic(), _within(progress, 2))
    near = searched(
        subject,
        replace(asked, tail_tokens=max(1, trained // 4)),
        Contestants.for_short(subject, _candidate(again), tuned, course.tuned),
        trained,
        texts=texts,
        out=course.out / SHORT,
        pinned=again["attention_factor"],
    )
    short = finished(near, course.seconds(3), time.monotonic(), _within(progress, 3))
    method = (
        f"longrope:short_factor=@{course.out / SHORT / 'factors.json'},"
        f"long_factor=@{course.out / AGAIN / 'factors.json'},factor={course.length / trained:.12g},"
        f"attention_factor={again['attention_factor']:g},policy=whole_sequence"
    )
    return Lists(again=again, short=short, long=long, method=method)


def _effects(course: Course, first: Candidate, lists: Lists) -> list[dict[str, Any]]:
    """Of every stage, on the test stretches of the second search."""
    lengths = sorted({course.trained, course.tuned, course.length})
    again, short = _candidate(lists.again), _candidate(lists.short)
    native = course.base.native.rotation
    shipped = {each: Candidate.from_frequencies(native, each) for each in lengths}
    against = Contestants.of(course.base, course.length)
    texts, out = Texts(search=course.heldout), course.out / BASE
    base = searched(course.base, course.asked, against, course.length, texts=texts, out=out).bench
    sizes = lists.again["documents"]
    dealt = parts(lists.long.texts, (sizes["search"], sizes["choice"], sizes["test"]))

    def stage(name: str, bench: Bench, candidate: Candidate) -> Effect:
        return Effect(stage=name, bench=bench, lists=dict.fromkeys(lengths, candidate))

    last = stage("short list", lists.long.bench, again)
    return effects(
        [
            Effect(stage="as it was", bench=base, lists=shipped),
            stage("search", base, first),
            stage("tune", lists.long.bench, first),
            stage("search again", lists.long.bench, again),
            replace(last, lists={**last.lists, course.trained: short}),
        ],
        dealt.test,
    )


def _ship(course: Course, method: str, steps: int) -> None:
    """The checkpoint that states both lists, unless it stands there already."""
    place, tuned = course.out / CHECKPOINT, fetch(course.out / TUNED)
    if (place / CONFIG).exists():
        _require_stated(course, method)
        return
    ship_folder(
        tuned,
        method,
        TRANSFORMERS,
        length=course.length,
        place=place,
        read=shape_of,
        base=course.base.name,
        trained=f"tuned for {steps} steps at {course.tuned:,} tokens",
    )


def _require_stated(course: Course, method: str) -> None:
    """Raise RopewalkError for a checkpoint of another run of these stages, with other lists."""
    place = course.out / CHECKPOINT
    written, tuned = (
        shape_of(read_config(folder / CONFIG)) for folder in (place, course.out / TUNED)
    )
    try:
        require_computed(written, tuned, method, TRANSFORMERS, course.length)
    except RopewalkError as error:
        raise RopewalkError(
            f"{place} states other lists than were found now: expected those of an earlier run of "
            "the same command; delete that folder and run again, or give another --out; all "
            "stages are kept"
        ) from error


def _candidate(document: dict[str, Any]) -> Candidate:
    return Candidate.of(document["factors"], document["attention_factor"])
