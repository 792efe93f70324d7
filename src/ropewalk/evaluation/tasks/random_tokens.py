"""Random tokens as samples: what induction and key-value recall share."""

from collections.abc import Sequence

import numpy as np

from ropewalk.evaluation.tasks.generator import Generator
from ropewalk.evaluation.tasks.judging import Verdict, judged_by_ids
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

DISTRACTORS = 3


class RandomTokens(Generator):
    """Answers are ids: several of them may have the same text, or none."""

    def verdict(self, text: str, ids: Sequence[int], sample: Sample) -> Verdict:
        return judged_by_ids(ids, sample)


def drawn(rng: np.random.Generator, pool: Sequence[int], count: int) -> list[int]:
    """Random ids of the pool, all different where there are enough."""
    picks = rng.choice(len(pool), size=count, replace=count > len(pool))
    return [pool[int(at)] for at in picks]


def sample_of(
    task: str,
    tokens: Tokens,
    *,
    context: Sequence[int],
    cue: Sequence[int],
    candidates: Sequence[Sequence[int]],
    depth: float,
) -> Sample:
    """Of ids: the answer is the first of ``candidates``. Texts are what they decode to."""
    answer, *distractors = ((tokens.text(each),) for each in candidates)
    return Sample(
        task=task,
        context=tokens.text(context),
        question="",
        answer_prefix=tokens.text(cue),
        answer=answer,
        max_new_tokens=len(candidates[0]),
        distractors=tuple(distractors),
        depth=depth,
        ids=(*tokens.opening, *context, *cue),
        candidates=tuple(tuple(each) for each in candidates),
    )
