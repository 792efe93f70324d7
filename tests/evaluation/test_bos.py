"""BOS: one or none, never two, in every window; letters that spell a special token are text."""

import math

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import ropewalk as rw
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.table import PROTOCOLS

BOS = 1
PUBLISHED = set(PROTOCOLS) - {"tail", "curve", "prefix", "sliding"}
ROUNDING = 1e-6
"""Nats: the library computes angles in float32. One BOS more or less is above 1e-3."""
TEXT = "".join(chr(ord("a") + number * number % 23) for number in range(400))


def tokenizer(*, adds: bool) -> PreTrainedTokenizerFast:
    """One token for each byte, and ``<bos>``, which it adds itself or does not."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<bos>": BOS} | {each: 2 + at for at, each in enumerate(alphabet)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if adds:
        inner.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", BOS)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>")


ADDS, SILENT = tokenizer(adds=True), tokenizer(adds=False)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(ADDS),
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).double().eval()


def mean_loss(model, windows: list[list[int]], scored: int) -> float:
    """The loss of the last tokens of windows, by the model's own forward."""
    with torch.no_grad():
        told = [model(torch.tensor([ids])).logits[0].log_softmax(-1) for ids in windows]
    nats = [
        -float(rows[at - 1, ids[at]])
        for rows, ids in zip(told, windows, strict=True)
        for at in range(len(ids) - scored, len(ids))
    ]
    return math.fsum(nats) / len(nats)


def measured(model, bos: str, tokens, text: str = TEXT, **words) -> float:
    asked = {"protocol": "tail", "windows": 2, "tail_tokens": 8, **words}
    (cell,) = rw.perplexity(
        model, [text], [32], methods=["none"], tokenizer=tokens, bos=bos, **asked
    )
    assert cell["status"] == "ok"
    return cell["nll"]


def plain_ids(text: str) -> list[int]:
    return SILENT(text, split_special_tokens=True)["input_ids"]


def windows_of_tail(opening: list[int]) -> list[list[int]]:
    """Two windows of 32 tokens in all, ends a quarter of the text apart."""
    ids = plain_ids(TEXT)
    return [[*opening, *ids[end - 32 + len(opening) : end]] for end in (400, 300)]


@pytest.mark.parametrize(
    ("bos", "tokens", "opening"),
    [
        ("auto", ADDS, [BOS]),
        ("auto", SILENT, []),
        ("always", SILENT, [BOS]),
        ("always", ADDS, [BOS]),
        ("never", ADDS, []),
    ],
    ids=["auto-adds", "auto-silent", "always-silent", "always-adds", "never-adds"],
)
def test_a_window_of_tail_begins_with_one_bos_or_none(model, bos, tokens, opening):
    expected = mean_loss(model, windows_of_tail(opening), scored=8)
    assert measured(model, bos, tokens) == pytest.approx(expected, abs=ROUNDING)


def test_a_bos_counts_in_the_length_of_curve_prefix_and_sliding(model):
    ids = plain_ids(TEXT)
    curve = [[BOS, *ids[start : start + 31]] for start in (0, 100)]
    expected = {
        "curve": mean_loss(model, curve, scored=8),
        "prefix": mean_loss(model, [[BOS, *ids[:31]]], scored=31),
    }
    for protocol, nats in expected.items():
        words = {} if protocol == "curve" else {"windows": None, "tail_tokens": None}
        found = measured(model, "always", ADDS, protocol=protocol, **words)
        assert found == pytest.approx(nats, abs=ROUNDING), protocol


def test_sliding_with_a_bos_scores_every_token_of_its_text_once():
    text = Document.encode("t", TEXT, ADDS, opening=(BOS,))
    protocol = PROTOCOLS["sliding"](stride=8, tokens=100)
    scored = [
        span.place(at)
        for span in protocol.spans((32,), text)
        for each in span.scored
        for at in range(each.first, each.last)
    ]
    assert scored == list(range(100))
    assert all(len(span) <= 32 and span.opening == (BOS,) for span in protocol.spans((32,), text))


@pytest.mark.parametrize("tokens", [ADDS, SILENT], ids=["adds", "silent"])
def test_letters_that_spell_a_special_token_are_text(tokens):
    spelled = Document.encode("t", f"<bos>{TEXT}", tokens)
    assert len(spelled) == len("<bos>") + len(TEXT)
    assert BOS not in spelled.ids
    assert spelled.bytes_between(0, len(spelled)) == len(spelled)


@pytest.mark.parametrize("protocol", sorted(PUBLISHED))
def test_a_published_rule_says_itself_where_a_bos_stands(protocol):
    expected = () if protocol == "chunkllama" else (BOS,)
    assert PROTOCOLS[protocol].opening(SILENT, "auto") == expected
    with pytest.raises(RopewalkError, match="published rule"):
        PROTOCOLS[protocol].opening(SILENT, "always")


def test_a_bos_that_is_not_there_is_refused(model):
    bare = PreTrainedTokenizerFast(tokenizer_object=ADDS.backend_tokenizer)
    with pytest.raises(RopewalkError, match="has no BOS"):
        measured(model, "always", bare)
    with pytest.raises(RopewalkError, match="expected auto, always, never"):
        measured(model, "sometimes", ADDS)
    with pytest.raises(RopewalkError, match="expected a tokenizer"):
        rw.perplexity(model, [torch.arange(64)], [32], bos="always")
