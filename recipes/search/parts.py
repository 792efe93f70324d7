"""What each part of a found schedule brings: pairs, magnitude, start tokens, and the objective.

    python -m recipes.search.parts --heldout TEXT.txt ...

After recipes/search/run.py, with its texts and its run folder: every schedule on the same test
documents, which no search saw, against what the default search found. Adds to
docs/results/search-demo.json.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from recipes.pages import RESULTS, result, write_result
from recipes.search.plan import DEFAULT, DOCUMENTS, LENGTH, NEEDLE, STARTS
from recipes.search.run import RESULT
from ropewalk.data import demo_book
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.evaluation.stretches import parts
from ropewalk.frequencies.longrope import longrope_attention_factor
from ropewalk.opening.subjects import search_subject
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measured.bench import Panel
from ropewalk.searching.measured.contestants import Contestants, Subject
from ropewalk.searching.measured.search import Texts, searched
from ropewalk.searching.paired import difference
from ropewalk.searching.request import Request

FIRST_TOKENS = (4, 16, 64, 256)
FOUND = "found"


def main(
    *,
    heldout: Annotated[list[Path] | None, typer.Option()] = None,
    out: Path = Path("runs") / RESULT,
) -> None:
    document = result(RESULT)
    subject = search_subject(None, "float32", None)
    length = length_in_tokens(LENGTH, subject.geometry.trained_length)
    schedules = dict(_schedules(document["searches"], subject, length))
    document["parts"] = {
        objective: _measured(_panel(subject, length, objective, heldout or [], out), schedules)
        for objective in ("loss", "needle")
    }
    write_result(document, RESULTS / f"{RESULT}.json")


def _schedules(
    searches: Mapping[str, Any], subject: Subject, length: int
) -> Iterator[tuple[str, Candidate]]:
    found = _chosen(searches[DEFAULT.name])
    trained = subject.geometry.trained_length
    best = next(
        each
        for each in Contestants.of(subject, length).contest.fixed
        if each.name == searches[DEFAULT.name]["best_fixed"]
    )
    yield FOUND, found
    yield best.name, best.candidate
    published = longrope_attention_factor(length / trained, trained)
    yield "its pairs, the published magnitude", replace(found, magnitude=published)
    for tokens in FIRST_TOKENS:
        yield f"its pairs, first {tokens} tokens unscaled", replace(found, start_tokens=tokens)
    yield STARTS.name, _chosen(searches[STARTS.name])
    yield NEEDLE.name, _chosen(searches[NEEDLE.name])


def _chosen(document: Mapping[str, Any]) -> Candidate:
    """What the way itself chose, winner or not."""
    row = document["rows"][0]
    return Candidate.of(row["factors"], row["attention_factor"], row["start_tokens"])


def _panel(subject: Subject, length: int, objective: str, heldout: list[Path], out: Path) -> Panel:
    """The test documents of the search, under an objective."""
    one = searched(
        subject,
        Request(objective=objective, documents=DOCUMENTS),
        Contestants.of(subject, length),
        length,
        texts=Texts(search=[demo_book()], heldout=heldout),
        out=out,
    )
    dealt = parts(one.texts, DOCUMENTS, one.heldout)
    return Panel(
        bench=one.bench,
        documents=tuple(dealt.test),
        first=sum(DOCUMENTS[:2]),
        keys=(),
        plain=one.against.contest.fixed[0].candidate,
    )


def _measured(panel: Panel, schedules: Mapping[str, Candidate]) -> list[dict[str, Any]]:
    """Nats of each schedule, and its paired difference to what was found."""
    scores = panel(list(schedules.values()), range(len(panel.documents)))
    losses = [[score.value for score in each] for each in scores]
    rows = []
    for (name, candidate), own in zip(schedules.items(), losses, strict=True):
        rows.append(
            {
                "name": name,
                "attention_factor": candidate.magnitude,
                "start_tokens": candidate.start_tokens,
                "value": sum(own) / len(own),
                "to_found": difference(own, losses[0]).record(),
            }
        )
    return rows


if __name__ == "__main__":
    typer.run(main)
