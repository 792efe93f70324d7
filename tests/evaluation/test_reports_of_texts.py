"""Public reports of how a text begins, and where a tokenizer cuts it."""

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import ropewalk as rw
from recipes.families.sharpened import tiny
from ropewalk.evaluation.documents import Document


def spelling(begins):
    """A byte-level tokenizer; ``begins``: whether it puts <bos> before a text."""
    words = {"<pad>": 0, "<bos>": 1, "<eos>": 2}
    words |= {a: 3 + i for i, a in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", 1)]
        )
    bos = {"bos_token": "<bos>"} if begins else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", **bos
    )


@torch.no_grad()
def loss(model, ids):
    predicted = model(ids[None], use_cache=False).logits.log_softmax(-1)
    return -predicted[0, :-1].gather(1, ids[1:, None]).mean().item()


@pytest.mark.parametrize("protocol", ["prefix", "yarn_truncated", "normxu"])
def test_50_a_text_begins_as_its_tokenizer_begins_it(protocol):
    """lm-evaluation-harness PR 1465, 2049, issue 3333: none where there is none, never two."""
    generator = random.Random(0)
    text = "".join(generator.choice("abcdefghij klmno.\n") for _ in range(700))
    model = tiny(vocab_size=300, max_position_embeddings=64)
    ids = torch.tensor(spelling(begins=False)(text)["input_ids"])
    right = {
        False: loss(model, ids[:64]),
        True: loss(model, torch.cat([torch.tensor([1]), ids[:63]])),
    }
    assert abs(right[True] - right[False]) > 1e-4
    for begins, wanted in right.items():
        (cell,) = rw.perplexity(
            model,
            [text],
            [64],
            methods=["none"],
            tokenizer=spelling(begins=begins),
            protocol=protocol,
        )
        assert cell["nll"] == pytest.approx(wanted, abs=1e-6)


def test_51_a_tokenizer_that_truncates_loses_nothing():
    """evaluate issue 332: a tokenizer.json with a truncation of 128."""
    tokenizer = spelling(begins=True)
    tokenizer.backend_tokenizer.enable_truncation(128)
    found = Document.encode("x", "The quick brown fox. " * 200, tokenizer)
    assert len(found) == 21 * 200
    assert int(found.byte_lengths.sum()) == 21 * 200
