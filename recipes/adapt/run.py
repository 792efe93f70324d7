"""Take the demo model to 8 times its length in the stages of LongRoPE, into docs/results.

    python -m recipes.adapt.run TEXTS HELDOUT

TEXTS and HELDOUT are folders that hold the files named in recipes/tune/plan.py and below. Tuned at
4 times the trained length. May be killed and started again: stages go on where they stopped.
"""

import time
from pathlib import Path
from typing import Any

import torch
import typer

import ropewalk as rw
from recipes.pages import RESULTS, write_result
from recipes.run import environment
from recipes.tune.plan import TEXTS
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.evaluation.stretches import parts
from ropewalk.opening.subjects import search_subject
from ropewalk.searching.measured.contestants import Contestants
from ropewalk.searching.measured.effects import Effect, effects
from ropewalk.searching.measured.search import Texts, searched
from ropewalk.searching.request import Request

RESULT = "adapt-demo"
LENGTH, TUNED = "8x", "4x"
HELDOUT = (
    "bierce_devils_dictionary.txt",
    "jargon_file_4_4_7.txt",
    "loc_electronic_texts_1992.txt",
    "melville_moby_dick.txt",
    "sotu_1961_2021.txt",
)
STEPS = 160
KEPT = ("model", "trained_length", "tuned_length", "length", "stages", "effects")
"""Of the document: what does not name a folder of the run."""
DOCUMENTS = (4, 4, 16)
"""Of every search: to search, to choose and to test on."""


def main(
    texts: Path,
    heldout: Path,
    *,
    out: Path = Path("runs") / RESULT,
) -> None:
    torch.set_num_threads(1)
    begun = time.process_time()
    document = rw.adapt(
        None,
        LENGTH,
        texts=[texts / name for name in TEXTS],
        heldout=[heldout / name for name in HELDOUT],
        out=out,
        tune_length=TUNED,
        steps=STEPS,
        documents=DOCUMENTS,
        progress=lambda work, share: typer.echo(f"{share:4.0%}  {work}"),
    )
    write_result(
        {
            **{key: document[key] for key in KEPT},
            "untuned": _untuned([heldout / name for name in HELDOUT], out / "base"),
            "steps": STEPS,
            "documents": DOCUMENTS,
            "texts": TEXTS,
            "heldout": HELDOUT,
            "environment": environment(None, "float32", 1),
            "cpu_seconds": _spent(out / "cpu_seconds", time.process_time() - begun),
        },
        RESULTS / f"{RESULT}.json",
    )


def _untuned(heldout: list[Path], out: Path) -> list[dict[str, Any]]:
    """The fixed schedules for the whole length on the model as it was, on the same targets."""
    subject = search_subject(None, "float32", None)
    trained = subject.geometry.trained_length
    length, tuned = (length_in_tokens(each, trained) for each in (LENGTH, TUNED))
    one = searched(
        subject,
        Request(documents=DOCUMENTS),
        Contestants.of(subject, length),
        length,
        texts=Texts(search=heldout),
        out=out,
    )
    stages = [
        Effect(
            stage=each.name,
            bench=one.bench,
            lists=dict.fromkeys((trained, tuned, length), each.candidate),
        )
        for each in one.against.contest.fixed
    ]
    found = effects(stages, parts(one.texts, DOCUMENTS).test)
    return [{"name": each["stage"], "losses": each["losses"]} for each in found]


def _spent(log: Path, seconds: float) -> int:
    """Of this run and of those before it that the folder goes on from."""
    before = int(log.read_text()) if log.exists() else 0
    log.write_text(f"{before + seconds:.0f}")
    return int(log.read_text())


if __name__ == "__main__":
    typer.run(main)
