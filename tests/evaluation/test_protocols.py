"""Documents and protocols: what is scored, from where, and in how many bytes."""

import hashlib
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.curve import Curve
from ropewalk.evaluation.protocols.prefix import Prefix
from ropewalk.evaluation.protocols.protocol import OnePassPerLength, SharedPasses
from ropewalk.evaluation.protocols.sliding import Sliding
from ropewalk.evaluation.protocols.tail import Tail

LENGTHS = (4, 6, 9, 16, 33)


def document(tokens: int) -> Document:
    return Document(
        name="text",
        ids=torch.arange(tokens),
        byte_lengths=torch.arange(tokens) % 5,
    )


def runs(protocol, length, text) -> bool:
    try:
        protocol.check(length, text)
    except RopewalkError:
        return False
    return True


def targets(protocol, length, text) -> dict[int, list[int]]:
    """Scored token indices of the document by window."""
    found: dict[int, list[int]] = {}
    for span in protocol.spans((length,), text):
        for scored in span.scored:
            tokens = range(span.start + scored.first, span.start + scored.last)
            found.setdefault(scored.window, []).extend(tokens)
    return found


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each UTF-8 byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


BYTES = byte_tokenizer()


@given(st.text(st.characters(codec="utf-8"), min_size=2, max_size=40))
def test_bytes_of_all_tokens_are_the_bytes_of_the_text(text):
    encoded = Document.encode("t", text, BYTES)
    assert encoded.bytes_between(0, len(encoded)) == len(text.encode())


def test_a_character_split_over_tokens_counts_once_for_its_first_token():
    encoded = Document.encode("t", "aé€😀", BYTES)
    assert encoded.byte_lengths.tolist() == [1, 2, 0, 3, 0, 0, 4, 0, 0, 0]


class WordTokenizer:
    """Words only: spaces belong to no token, and the first token stands for no character."""

    def __call__(self, text, *, return_offsets_mapping, add_special_tokens, split_special_tokens):
        assert return_offsets_mapping
        assert not add_special_tokens
        assert split_special_tokens
        return {"input_ids": [9, 1, 2], "offset_mapping": [(0, 0), (1, 3), (4, 6)]}


def test_dropped_characters_count_for_the_next_token_and_at_the_end_for_the_last():
    encoded = Document.encode("t", " ab cd  ", WordTokenizer())
    assert encoded.byte_lengths.tolist() == [0, 3, 5]


class SlowTokenizer:
    def __call__(self, text, *, return_offsets_mapping, add_special_tokens, split_special_tokens):
        raise NotImplementedError("return_offset_mapping is not available")


@pytest.mark.parametrize(
    ("text", "tokenizer", "message"),
    [
        ("", BYTES, "is empty"),
        ("a", BYTES, "has 1 token"),
        ("ab\ud800", BYTES, "at character 2"),
        ("ab", SlowTokenizer(), "fast tokenizer"),
    ],
)
def test_text_that_cannot_be_measured_is_refused(text, tokenizer, message):
    with pytest.raises(RopewalkError, match=message):
        Document.encode("book.txt", text, tokenizer)


def test_ids_and_bytes_must_fit_together():
    with pytest.raises(RopewalkError, match="byte_lengths of shape"):
        Document(name="t", ids=torch.arange(4), byte_lengths=torch.arange(3))
    with pytest.raises(RopewalkError, match="ids of shape"):
        Document(name="t", ids=torch.ones(3), byte_lengths=torch.arange(3))


def test_digest_is_sha256_of_the_ids_as_little_endian_64_bit_numbers():
    ids = [3, 1, 2**40]
    written = Document(name="t", ids=torch.tensor(ids), byte_lengths=torch.ones(3).long())
    assert written.digest == hashlib.sha256(struct.pack("<3q", *ids)).hexdigest()


@given(st.integers(2, 400), st.integers(1, 9), st.integers(1, 5), st.integers(1, 80))
@settings(max_examples=300)
def test_tail_scores_the_tokens_before_each_window_end(tokens, scored, windows, length):
    protocol, text = Tail(tokens=scored, windows=windows), document(tokens)
    spacing = tokens // (2 * windows)
    ends = [tokens - j * spacing for j in range(windows)]
    wanted = {j: list(range(end - scored, end)) for j, end in enumerate(ends)}
    all_targets = [token for found in wanted.values() for token in found]
    possible = (
        length > scored
        and min(ends) >= length
        and len(set(all_targets)) == windows * scored
        and min(all_targets) > 0
    )
    assert runs(protocol, length, text) == possible
    if possible:
        assert targets(protocol, length, text) == wanted
        assert {len(span) for span in protocol.spans((length,), text)} == {length}


def test_tail_has_the_same_targets_at_every_length_whatever_else_is_asked():
    protocol, text = Tail(tokens=3, windows=4), document(100)
    alone = [targets(protocol, length, text) for length in LENGTHS]
    assert all(found == alone[0] for found in alone)
    together = list(protocol.spans(LENGTHS, text))
    assert together == [span for n in LENGTHS for span in protocol.spans((n,), text)]


@given(st.integers(2, 400), st.integers(1, 9), st.integers(1, 5), st.integers(1, 80))
@settings(max_examples=300)
def test_curve_scores_the_tokens_before_position_n_of_fixed_windows(
    tokens, scored, windows, length
):
    protocol, text = Curve(tokens=scored, windows=windows), document(tokens)
    starts = [j * (tokens // (2 * windows)) for j in range(windows)]
    wanted = {j: list(range(s + length - scored, s + length)) for j, s in enumerate(starts)}
    all_targets = [token for found in wanted.values() for token in found]
    possible = (
        length > scored
        and max(starts) + length <= tokens
        and len(set(all_targets)) == windows * scored
    )
    assert runs(protocol, length, text) == possible
    if possible:
        assert targets(protocol, length, text) == wanted


@pytest.mark.parametrize(
    "protocol", [Curve(tokens=3, windows=4), Prefix()], ids=["curve", "prefix"]
)
def test_one_pass_at_the_longest_length_scores_what_separate_passes_score(protocol):
    text = document(100)
    spans = list(protocol.spans(LENGTHS, text))
    assert {len(span) for span in spans} == {max(LENGTHS)}
    for length in LENGTHS:
        shared = {
            scored.window: list(range(span.start + scored.first, span.start + scored.last))
            for span in spans
            for scored in span.scored
            if scored.length == length
        }
        assert shared == targets(protocol, length, text)


@pytest.mark.parametrize(("length", "possible"), [(1, False), (2, True), (9, True), (10, False)])
def test_prefix_scores_every_token_but_the_first(length, possible):
    text = document(9)
    assert runs(Prefix(), length, text) == possible
    if possible:
        assert targets(Prefix(), length, text) == {0: list(range(1, length))}


@given(st.integers(2, 200), st.integers(1, 20), st.integers(1, 200), st.integers(1, 80))
@settings(max_examples=300)
def test_sliding_scores_every_token_once_with_the_promised_context(tokens, stride, covered, length):
    protocol, text = Sliding(stride=stride, tokens=covered), document(tokens)
    possible = stride < length <= covered <= tokens
    assert runs(protocol, length, text) == possible
    if not possible:
        return
    spans = list(protocol.spans((length,), text))
    assert targets(protocol, length, text) == {0: list(range(1, covered))}
    assert {len(span) for span in spans} == {length}
    assert all(span.first >= length - stride for span in spans[1:])
    assert [span.stop for span in spans] == [
        length,
        *(end for end in range(length + stride, covered, stride)),
        *([covered] if covered > length else []),
    ]


@pytest.mark.parametrize(
    ("protocol", "length", "message"),
    [
        (Tail(tokens=8, windows=1), 8, "above 8"),
        (Tail(tokens=2, windows=4), 40, "ends after 25"),
        (Tail(tokens=9, windows=4), 10, "needs 72"),
        (Curve(tokens=2, windows=4), 40, "starts at 15 and has 25"),
        (Prefix(), 41, "has 40 tokens"),
        (Sliding(stride=8, tokens=40), 8, "stride of at most 7"),
        (Sliding(stride=2, tokens=30), 31, "tokens=31"),
        (Sliding(stride=2, tokens=50), 31, "has 40 tokens"),
    ],
)
def test_a_length_that_cannot_be_measured_is_refused_with_its_reason(protocol, length, message):
    with pytest.raises(RopewalkError, match=message):
        protocol.check(length, document(40))


@pytest.mark.parametrize("build", [Tail, Curve])
@pytest.mark.parametrize("values", [{"tokens": 0, "windows": 8}, {"tokens": 2, "windows": -1}])
def test_parameters_below_one_are_refused(build, values):
    with pytest.raises(RopewalkError, match="expected at least 1"):
        build(**values)


def test_only_curve_and_prefix_share_passes_and_only_where_the_method_allows_it():
    apart = tuple((n,) for n in LENGTHS)
    for protocol in (Curve(tokens=2, windows=2), Prefix()):
        assert protocol.groups(LENGTHS, SharedPasses()) == (LENGTHS,)
        assert protocol.groups(LENGTHS, OnePassPerLength()) == apart
    for protocol in (Tail(tokens=2, windows=2), Sliding(stride=2, tokens=9)):
        assert protocol.groups(LENGTHS, SharedPasses()) == apart


def test_text_of_a_protocol_names_every_parameter():
    assert Tail(tokens=64, windows=2).text == "tail:tokens=64,windows=2"
    assert Curve(tokens=64, windows=2).text == "curve:tokens=64,windows=2"
    assert Sliding(stride=3, tokens=9).text == "sliding:stride=3,tokens=9"
    assert Prefix().text == "prefix"
