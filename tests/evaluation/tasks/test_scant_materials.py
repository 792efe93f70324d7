"""Tasks of texts that hold little, and samples that are as small as can be."""

import re

import pytest

from evaluation.tasks.tokenizers_made import byte_tokenizer
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.table import Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens

TOKENS = Tokens.of(byte_tokenizer())
FRUITS = "apples pears plums grapes lemons limes melons cherries figs dates olives nuts beans peas"
SHORT = " ".join(f"We saw {each} and {each}." for each in [*FRUITS.split(), *"abcdefgh"])


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("coreference", SHORT, "0 sentences of more than 6 words begin differently: expected at"),
        ("cwe", SHORT, "the texts hold 14 different lower-case words of 4 to 10 letters a to z: "),
        ("cwe", "\u6f22\u5b57\u3002" * 500, "the texts hold 0 different lower-case words"),
    ],
)
def test_texts_that_hold_too_little_are_told(name, text, what):
    with pytest.raises(RopewalkError, match=rf"{name}: {re.escape(what)}.*give a longer --text"):
        generator(name, Materials(tokens=TOKENS, texts=[text]))


@pytest.mark.parametrize("seed", [138, 206, 215, 563])
def test_the_smallest_graph_has_as_many_wrong_nodes_as_right_ones(seed):
    """Of twelve nodes six may lead to one, as with these seeds: five are left that do not."""
    made = generator("graph_parents", Materials(tokens=TOKENS, texts=()))
    sample = made.sample(Place(length=748, depth=0.5, seed=seed, trial=0), TOKENS)
    assert len(set(re.findall(r"\w{6}(?= -> )", sample.context))) == 12
    assert 2 <= len(sample.answer) <= 5
    assert all(len(wrong) == len(sample.answer) for wrong in sample.distractors)
