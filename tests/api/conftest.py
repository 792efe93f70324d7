"""A small Llama, a text and its tokenizer, and a checkpoint of both."""

import random

import pytest
from transformers import PreTrainedTokenizerFast

from recipes.families.sharpened import tiny
from ropewalk.training.corpus import train_tokenizer


@pytest.fixture(scope="module")
def llama():
    return tiny(num_hidden_layers=2, vocab_size=300)


@pytest.fixture(scope="module")
def text():
    """About a thousand tokens of sentences that are not all alike, with letters of many bytes."""
    words = ("rope", "öfter —", "lies long upon", "the walk;", "hemp 麻", "tar", "🪢", "turn")
    draw = random.Random(0)
    return "\n".join(" ".join(draw.choices(words, k=9)) + "." for _ in range(110))


@pytest.fixture(scope="module")
def tokenizer(text, tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "text.txt"
    file.write_text(text, encoding="utf-8")
    return PreTrainedTokenizerFast(tokenizer_object=train_tokenizer([file], 300))
