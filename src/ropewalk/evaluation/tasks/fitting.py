"""Prompts of exactly the tokens asked for: filler by whole sentences, never cut inside one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.haystacks import Haystack
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

ATTEMPTS = 24
"""Times that a prompt is encoded: counts of sentences add up unless a tokenizer merges across
their ends.
"""
NUDGE = 4
"""Tokens, where the same count misses again."""
LAST_SENTENCES = 24
"""Of the filler, may be replaced by others for an exact length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sample whose filler is still to be chosen.

    opening         instructions before the haystack
    needles         sentences to hide, and the depth of each, 0 to 1; the first is asked for
    answer, distractors, question, answer_prefix, max_new_tokens  as in ``Sample``; a question and
                    an answer prefix begin with what parts them from the text before
    """

    task: str
    opening: str
    needles: tuple[tuple[str, float], ...]
    question: str
    answer_prefix: str
    answer: tuple[str, ...]
    distractors: tuple[tuple[str, ...], ...] = ()
    max_new_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedleText:
    """Sentences with needles among them; ``depth`` as in ``Sample``."""

    text: str
    depth: float


def fitted(
    draft: Draft, haystack: Haystack, tokens: Tokens, length: int, rng: np.random.Generator
) -> Sample:
    """The draft with as much of the haystack as makes ``length`` tokens with BOS and room.

    Raises RopewalkError below the task's shortest length.
    """

    def hidden(filler: Sequence[str]) -> NeedleText:
        return hide(draft, filler, haystack.joiner)

    def prompt(filler: Sequence[str]) -> str:
        return hidden(filler).text + draft.question + draft.answer_prefix

    room = length - draft.max_new_tokens - len(tokens.opening)
    filler, ids = _filled(prompt, haystack, tokens, room, rng, f"{draft.task} at length {length}")
    made = hidden(filler)
    end = made.text + draft.question + draft.answer_prefix
    return Sample(
        task=draft.task,
        context=made.text,
        question=draft.question,
        answer_prefix=draft.answer_prefix,
        answer=draft.answer,
        max_new_tokens=draft.max_new_tokens,
        distractors=draft.distractors,
        depth=made.depth,
        ids=(*tokens.opening, *ids),
        candidates=tuple(
            tuple(tokens.continuation(end, " " + ", ".join(each)))
            for each in (draft.answer, *draft.distractors)
        ),
    )


def hide(draft: Draft, filler: Sequence[str], joiner: str) -> NeedleText:
    """Each needle before the first sentence that begins at its depth or later, by characters."""
    begins = np.cumsum([0, *(len(each) + 1 for each in filler)])
    where = [int(np.searchsorted(begins[:-1], depth * begins[-1])) for _, depth in draft.needles]
    order = sorted(range(len(where)), key=lambda number: (where[number], draft.needles[number][1]))
    parts: list[str] = []
    asked, done = 0, 0
    for number in order:
        parts += filler[done : where[number]]
        done = max(done, where[number])
        if number == 0:
            asked = len(parts)
        parts.append(draft.needles[number][0])
    parts += filler[done:]
    text = joiner.join(parts)
    before = sum(len(each) + 1 for each in parts[:asked])
    return NeedleText(text=f"{draft.opening}{text}\n", depth=before / max(len(text), 1))


def _filled(
    prompt: Callable[[Sequence[str]], str],
    haystack: Haystack,
    tokens: Tokens,
    target: int,
    rng: np.random.Generator,
    what: str,
) -> tuple[Sequence[str], list[int]]:
    """Filler with which ``prompt`` has ``target`` tokens, and its ids."""
    bare = len(tokens.ids(prompt(())))
    shortest = bare + haystack.padding.smallest
    if target < shortest:
        raise RopewalkError(
            f"{what}: {target} tokens are left for the prompt; expected at least {shortest}; "
            f"ask for a length of {shortest - target} tokens more"
        )
    straw = list(haystack.straw(target - bare, rng))
    wanted, tried = target - bare, set[int]()
    for _ in range(ATTEMPTS):
        again = wanted in tried
        dropped = int(rng.integers(LAST_SENTENCES)) if again else 0
        wanted += int(rng.integers(-NUDGE, NUDGE + 1)) if again else 0
        tried.add(wanted)
        filler = _exactly(wanted, straw, haystack, rng, dropped)
        ids = tokens.ids(prompt(filler))
        if len(ids) == target:
            return filler, ids
        wanted += target - len(ids)
    raise RopewalkError(
        f"{what}: no filler of exactly that many tokens found, {ATTEMPTS} were tried; "
        "expected a tokenizer that splits text at spaces; try another length"
    )


def _exactly(
    wanted: int,
    straw: Sequence[tuple[str, int]],
    haystack: Haystack,
    rng: np.random.Generator,
    dropped: int,
) -> list[str]:
    """The first sentences of the straw, the last few of them replaced: ``wanted`` tokens, or as
    near as can be where few are wanted.

    dropped  sentences at the end that are replaced although they would fit
    """
    ends = np.cumsum([0, *(size for _, size in straw)])
    whole = int(np.searchsorted(ends, wanted, side="right")) - 1
    for kept in range(max(whole - dropped, 0), max(whole - LAST_SENTENCES, 0) - 1, -1):
        gap = wanted - int(ends[kept])
        if haystack.padding.reaches(gap):
            return [each for each, _ in straw[:kept]] + haystack.padding.sentences(gap, rng)
    return [each for each, _ in straw[:whole]]
