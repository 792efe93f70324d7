"""Tasks of a run beside its loss: their making, and their samples beside its results."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ropewalk.evaluation.cells import Measurement
from ropewalk.evaluation.parts import Part
from ropewalk.evaluation.request import read_tasks
from ropewalk.evaluation.tasks.retrieval import Retrieval
from ropewalk.evaluation.tasks.table import GENERATORS, Materials, generator
from ropewalk.evaluation.tasks.task import Task
from ropewalk.evaluation.tasks.tokens import TextTokenizer, Tokens
from ropewalk.storage.files import write_whole


def retrieval_tasks(
    words: Sequence[str],
    tokenizer: TextTokenizer,
    texts: Sequence[Path],
    *,
    trials: int,
    bos: str,
    questions: Path | None,
) -> tuple[Task, ...]:
    """The tasks of those names beside the loss, ``all`` among them.

    texts      UTF-8 files: prose to hide needles in
    questions  as in ``Materials``

    Raises RopewalkError for bad input.
    """
    materials = Materials(
        tokens=Tokens.of(tokenizer, bos),
        texts=[text.read_text("utf-8") for text in texts],
        questions=questions,
    )
    names = [name for name in read_tasks(words) if name in GENERATORS]
    return tuple(
        Retrieval(
            generator=generator(name, materials),
            tokens=materials.tokens,
            trials=trials,
            digest=_digest(questions) if name == "qa" else "",
        )
        for name in names
    )


def write_samples(tasks: Iterable[Task], results: Iterable[Part], run_dir: Path) -> None:
    """The samples of every measured length: ``samples/<task>-<length>.jsonl``."""
    ran = {(each.cell.task, each.cell.length) for each in results if isinstance(each, Measurement)}
    for task in tasks:
        for length in sorted(length for text, length in ran if text == task.text):
            path = run_dir / "samples" / f"{task.text.partition(':')[0]}-{length}.jsonl"
            if isinstance(task, Retrieval) and not path.exists():
                path.parent.mkdir(exist_ok=True)
                write_whole(path, "".join(f"{row}\n" for row in task.rows(length)).encode())


def _digest(questions: Path | None) -> str:
    content = b"" if questions is None else questions.read_bytes()
    return f",questions={hashlib.sha256(content).hexdigest()[:16]}"
