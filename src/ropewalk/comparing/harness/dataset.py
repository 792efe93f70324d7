"""Samples of a retrieval task as the harness' task files ask for them, and their judging.

A sample is a function of task, seed, trial and length, the same that ``compare --task`` asks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_book
from ropewalk.evaluation.tasks.judging import judged
from ropewalk.evaluation.tasks.made import retrieval_tasks
from ropewalk.evaluation.tasks.retrieval import TRIALS, Retrieval
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.integrations.loading import load_tokenizer

if TYPE_CHECKING:
    from datasets import Dataset

DEFAULT_LENGTHS = (4096,)
SPLIT = "test"


def dataset(
    *,
    name: str,
    pretrained: str,
    lengths: Sequence[int] = DEFAULT_LENGTHS,
    trials: int = TRIALS,
    bos: str = "auto",
    texts: Sequence[str] = (),
    questions: str | None = None,
    **unused: Any,
) -> "dict[str, Dataset]":
    """The samples of a task, ``trials`` at each length, under the split ``test``.

    name                         as in ``compare --task``; the task file gives it
    pretrained                   of the model args: its tokenizer sizes the samples
    lengths, trials, bos, texts, questions
                                 of ``--metadata``, as in ``compare``; lengths in tokens
    unused                       the other model args, which the harness hands over too

    Raises RopewalkError for bad input.
    """
    from datasets import Dataset

    known = [Path(text) for text in texts] or [demo_book()]
    (task,) = retrieval_tasks(
        [name],
        load_tokenizer(pretrained),
        known,
        trials=int(trials),
        bos=bos,
        questions=None if questions is None else Path(questions),
    )
    assert isinstance(task, Retrieval)
    samples = [
        task.sample(length, trial) for length in _lengths(lengths) for trial in range(trials)
    ]
    return {SPLIT: Dataset.from_list([_row(sample) for sample in samples])}


def judge(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """``right``, ``recall`` and ``empty`` of a generated answer (``evaluation.tasks.judging``)."""
    sample = Sample(
        task=doc["task"],
        context="",
        question="",
        answer_prefix="",
        answer=tuple(doc["answer"]),
        max_new_tokens=doc["max_new_tokens"],
        depth=None,
        ids=(),
        candidates=((-1,),),  # no token: text alone is judged
    )
    verdict = judged(results[0], (), sample)
    return {
        "right": float(verdict.right),
        "recall": float(verdict.recall),
        "empty": float(verdict.empty),
    }


def _row(sample: Sample) -> dict[str, Any]:
    choices = [", ".join(each) for each in (sample.answer, *sample.distractors)]
    return {
        **sample.row(),
        "prompt": sample.context + sample.question + sample.answer_prefix,
        "answer_text": choices[0],
        "choices": choices,
        "target": 0,
        "length": sample.length,
    }


def _lengths(lengths: Sequence[int]) -> list[int]:
    if not all(isinstance(length, int) for length in lengths) or not lengths:
        raise RopewalkError(
            f'--metadata lengths {lengths}: expected numbers of tokens, like {{"lengths": [4096]}}'
        )
    return list(lengths)
