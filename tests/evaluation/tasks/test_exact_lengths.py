"""Every generator is exact in length, for five tokenizers, and bounded."""

import json

import pytest

from evaluation.tasks.tokenizers_made import BOOK, KINDS
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.table import GENERATORS, Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens

LENGTHS = (2048, 2049, 4096)
LONG_LENGTHS = (8192, 8193)
"""For a token a byte."""


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [
        {
            "document": f"Town {n} has {37 * n + 5} houses and a well. It lies in valley {n}.",
            "question": f"How many houses has town {n}?",
            "answer": str(37 * n + 5),
        }
        for n in range(60)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.__name__)
def materials(request, questions):
    tokens = Tokens.of(request.param())
    return Materials(tokens=tokens, texts=[BOOK[:300_000]], questions=questions)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_length_is_exactly_the_one_asked_for(name, materials):
    tokens, made = materials.tokens, generator(name, materials)
    lengths = LONG_LENGTHS if len(tokens.tokenizer) < 300 else LENGTHS
    for trial, length in enumerate(lengths):
        sample = made.sample(Place(length=length, depth=trial / 2, seed=7, trial=trial), tokens)
        assert len(sample.ids) + sample.max_new_tokens == length == sample.length
        assert all(sample.candidates)
        assert len(sample.candidates) == 1 + len(sample.distractors)
        if name in ("induction", "key_value"):
            continue  # made of ids, which need not be those of the text
        text = sample.context + sample.question + sample.answer_prefix
        assert list(sample.ids) == [*tokens.opening, *tokens.ids(text)]
        assert sample.max_new_tokens >= 10


@pytest.mark.parametrize("name", GENERATORS)
def test_a_length_that_is_too_short_is_an_error_that_names_the_remedy(name, materials):
    made = generator(name, materials)
    with pytest.raises(RopewalkError, match=rf"{name} at length 16: .*expected .*; ask for .*more"):
        made.sample(Place(length=16, depth=0.5, seed=7, trial=0), materials.tokens)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_sample_is_a_function_of_seed_and_trial(name, materials):
    made = generator(name, materials)
    length = LONG_LENGTHS[0] if len(materials.tokens.tokenizer) < 300 else LENGTHS[0]

    def sample(seed, trial):
        place = Place(length=length, depth=0.5, seed=seed, trial=trial)
        return made.sample(place, materials.tokens)

    assert sample(1, 0) == sample(1, 0)
    assert sample(1, 0).ids != sample(1, 1).ids
    assert sample(1, 0).ids != sample(2, 0).ids
