"""LongPPL of a run: which model finds its key tokens."""

from collections.abc import Sequence
from pathlib import Path

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.tasks.longppl import longppl
from ropewalk.evaluation.tasks.task import Task
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import trained_length_of
from ropewalk.opening.checkpoints import identity


def long_perplexity(setting: Setting, evaluator: LoadedModel, texts: Sequence[Path]) -> Task:
    """LongPPL of a run, its key tokens found by ``evaluator``, the run's own model or another.

    Raises RopewalkError as ``longppl``, and if the evaluator's tokenizer gives other tokens.
    """
    tokenizer = evaluator.require_tokenizer()
    theirs = [Document.read(text, tokenizer).digest for text in texts]
    if theirs != [each.digest for each in setting.documents]:
        raise RopewalkError(
            f"evaluator {evaluator.name} splits the text into other tokens than {setting.model}: "
            "expected a model with the same tokenizer"
        )
    trained_length = trained_length_of(evaluator.model)
    scorer = TransformersScorer(evaluator.model)
    return longppl(setting.task, scorer, trained_length, identity(evaluator)[:16])
