"""adapt: search, tune, search again, a short list; stages that resume, and what each did."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ropewalk.api.exporting import export
from ropewalk.api.searching import search, subject_of
from ropewalk.api.tuning import tune
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_book
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.evaluation.stretches import parts
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measured.contestants import Contestants, Subject
from ropewalk.searching.measured.effects import Effect, effects
from ropewalk.searching.measured.result import Told, finished
from ropewalk.searching.measured.searched import Searched, Texts, searched
from ropewalk.searching.request import Request
from ropewalk.storage.files import write_whole

STRETCH = 8
"""Of a second search, without training: the longest that LongRoPE found to hold."""
SHARES = (0.2, 0.5, 0.2, 0.1)
"""Of a budget: search, tune, search again, the short list."""


def adapt(
    source: str | Path | None,
    length: int | str,
    *,
    texts: Sequence[str | Path],
    out: str | Path,
    heldout: Sequence[str | Path] = (),
    tune_length: int | str | None = None,
    steps: int | None = None,
    budget: float | None = None,
    device: str | None = None,
    progress: Told = lambda work, share: None,
    **request: Any,
) -> dict[str, Any]:
    """LongRoPE's progressive extension: search, tune, search again, then a list for short contexts.

    source       a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    length       N, that the checkpoint is to reach, in tokens or trained lengths
    texts        files to train on
    out          a folder for each stage, and ``checkpoint``; what was stopped goes on there
    heldout      files to search, choose and test on; the bundled book without any
    tune_length  of the training; by default N / 8, or N where that is within the trained length
    steps        of the training, by default ``tune``'s
    budget       seconds, shared out among the stages
    request      ``ropewalk.searching.request.Request``, of every search

    Returns what ``ropewalk adapt --json`` prints. Raises RopewalkError for bad input.

    Source: Ding et al. 2024, LongRoPE, arXiv:2402.13753, section 3.4.
    """
    plan = _Plan.of(
        subject_of(source, "float32", device),
        Request(**request),
        length,
        tune_length,
        out=Path(out),
        texts=texts,
        heldout=heldout,
        budget=budget,
        device=device,
    )
    progress("search", 0.0)
    first = search(
        source, plan.tuned, texts=plan.heldout, out=plan.out / "search", device=device,
        budget=plan.seconds(0), **request,
    )  # fmt: skip
    progress("tune", SHARES[0])
    asked: dict[str, Any] = {} if steps is None else {"steps": steps}
    trained = tune(
        source, first["method"], plan.tuned, texts=plan.texts, heldout=plan.heldout,
        out=plan.out / "tuned", budget=plan.seconds(1), device=device, **asked,
    )  # fmt: skip
    lists = _after_training(plan, _candidate(first), progress)
    progress("effects", 0.95)
    document = {
        "model": trained["model"],
        "trained_length": plan.base.geometry.trained_length,
        "tuned_length": plan.tuned,
        "length": plan.length,
        "stages": {
            "search": first["verdict"],
            "search again": lists.again["verdict"],
            "short": lists.short["verdict"],
        },
        "effects": _effects(plan, _candidate(first), lists),
        "method": lists.method,
        "checkpoint": str(plan.out / "checkpoint"),
        "seconds": time.monotonic() - plan.begun,
    }
    if not (plan.out / "checkpoint" / "config.json").exists():
        tuned = plan.out / "tuned"
        export(tuned, lists.method, "transformers", plan.length, out=plan.out / "checkpoint")
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(plan.out / "adapt.json", text.encode())
    return document


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Lengths, texts and seconds of all stages."""

    base: Subject
    asked: Request
    length: int
    tuned: int
    out: Path
    texts: list[Path]
    heldout: list[Path]
    budget: float | None
    device: str | None
    begun: float

    @classmethod
    def of(
        cls,
        base: Subject,
        asked: Request,
        length: int | str,
        tune_length: int | str | None,
        *,
        out: Path,
        texts: Sequence[str | Path],
        heldout: Sequence[str | Path],
        budget: float | None,
        device: str | None,
    ) -> "_Plan":
        trained = base.geometry.trained_length
        tokens = length_in_tokens(length, trained)
        eighth = tokens // STRETCH
        tuned = (
            (eighth if eighth > trained else tokens)
            if tune_length is None
            else length_in_tokens(tune_length, trained)
        )
        if not trained < tuned <= tokens:
            raise RopewalkError(
                f"trained length {trained}, tuning at {tuned}, length {tokens}: expected them in "
                "this order; give another --tune-length"
            )
        kept = [Path(text) for text in heldout] or [demo_book()]
        files = [Path(text) for text in texts]
        if shared := {each.resolve() for each in files} & {each.resolve() for each in kept}:
            raise RopewalkError(
                f"{min(shared)} is trained on and held out: expected different files; give another "
                "--heldout"
            )
        if out.exists() and not out.is_dir():
            raise RopewalkError(f"{out} is a file: expected a folder; give another --out")
        for file in files:  # before hours of searching
            Document.read(file, base.tokenizer)
        return cls(
            base=base, asked=asked, length=tokens, tuned=tuned, out=out, texts=files, heldout=kept,
            budget=budget, device=device, begun=time.monotonic(),
        )  # fmt: skip

    def seconds(self, stage: int) -> float | None:
        """What a stage may take."""
        return None if self.budget is None else self.budget * SHARES[stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lists:
    """What was found for the tuned model: its second search and its short list."""

    again: dict[str, Any]
    short: dict[str, Any]
    long: Searched
    near: Searched
    method: str


def _after_training(plan: _Plan, tuned: Candidate, progress: Told) -> _Lists:
    subject = subject_of(plan.out / "tuned", "float32", plan.device)
    trained = plan.base.geometry.trained_length
    texts, asked = Texts(search=plan.heldout), plan.asked
    progress("search again", sum(SHARES[:2]))
    over = Contestants.over_tuned(subject, tuned, plan.tuned, plan.length)
    long = searched(subject, asked, over, plan.length, texts=texts, out=plan.out / "again")
    again = finished(long, plan.seconds(2), time.monotonic(), progress)
    progress("short list", sum(SHARES[:3]))
    near = searched(
        subject,
        replace(asked, tail_tokens=max(1, trained // 4)),
        Contestants.for_short(subject, tuned, plan.tuned),
        trained,
        texts=texts,
        out=plan.out / "short",
        pinned=again["attention_factor"],
    )
    short = finished(near, plan.seconds(3), time.monotonic(), progress)
    method = (
        f"longrope:short_factor=@{plan.out / 'short' / 'factors.json'},"
        f"long_factor=@{plan.out / 'again' / 'factors.json'},factor={plan.length / trained:.12g},"
        f"attention_factor={again['attention_factor']:g},policy=whole_sequence"
    )
    return _Lists(again=again, short=short, long=long, near=near, method=method)


def _effects(plan: _Plan, first: Candidate, lists: _Lists) -> list[dict[str, Any]]:
    """Of every stage, on the test stretches of the second search."""
    trained = plan.base.geometry.trained_length
    lengths = sorted({trained, plan.tuned, plan.length})
    again, short = _candidate(lists.again), _candidate(lists.short)
    plain = Candidate.of([1.0] * len(first.divisors))
    base = searched(
        plan.base, plan.asked, Contestants.of(plan.base, plan.length), plan.length,
        texts=Texts(search=plan.heldout), out=plan.out / "base",
    ).bench  # fmt: skip
    sizes = lists.again["documents"]
    dealt = parts(lists.long.texts, (sizes["search"], sizes["choice"], sizes["test"]))

    def stage(name: str, bench: Any, candidate: Candidate) -> Effect:
        return Effect(stage=name, bench=bench, lists=dict.fromkeys(lengths, candidate))

    last = stage("short list", lists.long.bench, again)
    return effects(
        [
            stage("as it was", base, plain),
            stage("search", base, first),
            stage("tune", lists.long.bench, first),
            stage("search again", lists.long.bench, again),
            replace(last, lists={**last.lists, trained: short}),
        ],
        dealt.test,
    )


def _candidate(document: dict[str, Any]) -> Candidate:
    return Candidate.of(document["factors"], document["attention_factor"])
