"""Words of a comparison, read as values, before anything is loaded."""

import pytest
from short_windows import protocol

import ropewalk as rw
from recipes.families.sharpened import L0
from ropewalk.cli.compare_options import ProtocolName
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.table import PROTOCOLS
from ropewalk.evaluation.request import length_in_tokens, read_lengths, read_mode
from ropewalk.opening.checkpoints import open_checkpoint


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ([64, "16", "2x"], (16, 64)),
        (["0.5x", "1x", 7], (7, 16, 32)),
        ([], (16, 32, 64, 128, 256)),
        (["1.02x"], (33,)),
    ],
)
def test_lengths_are_tokens_or_multiples_in_order_and_once(given, tokens):
    assert read_lengths(given, L0) == tokens


@pytest.mark.parametrize(
    "word", ["", "x", "two", "1", 1, 0, -5, "-2x", "0.01x", "nanx", "infx", "1e400x", "3.5"]
)
def test_words_that_are_no_length_are_refused(word):
    with pytest.raises(rw.RopewalkError, match=r"^length .*expected"):
        length_in_tokens(word, L0)


def test_modes_are_passes():
    assert [read_mode(word) for word in ("full", "decode", "chunked:512")] == [
        FullPass(),
        DecodePass(),
        ChunkedPass(512),
    ]


@pytest.mark.parametrize(
    "word", ["", "Full", "chunked", "chunked:", "chunked:0", "chunked:-1", "chunked:²", "decode:1"]
)
def test_words_that_are_no_mode_are_refused(word):
    with pytest.raises(rw.RopewalkError, match="chunk"):
        read_mode(word)


def test_protocols_take_what_is_not_given_from_the_trained_length():
    assert protocol("tail").text == "tail:tokens=512,windows=3"
    assert protocol("curve", tail_tokens=9).text == "curve:tokens=9,windows=3"
    assert protocol("prefix").text == "prefix"
    assert protocol("sliding").text == "sliding:stride=15,tokens=400"
    assert protocol("sliding", lengths=(4096, 9000)).text == "sliding:stride=512,tokens=36000"
    assert protocol("sliding", stride=7).text == "sliding:stride=7,tokens=400"
    assert protocol("tail", trained_length=10**6).text == "tail:tokens=1024,windows=3"
    assert protocol("yarn").text == "yarn:stride=256,tokens=400"
    assert protocol("longrope", stride=64).text == "longrope:stride=64"
    assert protocol("rerope").text == "rerope:tokens=30"
    assert protocol("rerope", lengths=(9000,)).text == "rerope:tokens=4096"


def test_every_protocol_has_the_name_under_which_it_is_asked_for():
    assert [protocol(name).name for name in PROTOCOLS] == list(PROTOCOLS)
    assert [each.value for each in ProtocolName] == list(PROTOCOLS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tails", {}, "expected one of tail, curve, prefix, sliding"),
        ("tail", {"stride": 3}, "stride"),
        ("prefix", {"tail_tokens": 3}, "tail-tokens"),
        ("sliding", {"tail_tokens": 3}, "tail-tokens"),
        ("tail", {"tail_tokens": 0}, "tokens=0"),
        ("tail", {"windows": 0}, "windows=0"),
        ("sliding", {"stride": 0}, "stride=0"),
        ("normxu", {"stride": 3}, "stride"),
        ("pose", {"tail_tokens": 3}, "tail-tokens"),
        ("pose", {"stride": 0}, "stride=0"),
    ],
)
def test_protocols_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(rw.RopewalkError, match=message):
        protocol(name, **options)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dtype": "int8"}, "dtype int8: expected one of float32"),
        ({"device": "cdua"}, "device cdua: torch cannot use it"),
        ({"device": "cuda:99"}, "device cuda:99: torch cannot use it"),
    ],
)
def test_words_for_dtype_and_device_are_checked_before_anything_is_loaded(asked, message):
    with pytest.raises(rw.RopewalkError, match=message):
        open_checkpoint("no/such/place", **asked)


def test_texts_that_cannot_be_read_are_refused(tokenizer, tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("öfter".encode("latin-1"))
    for path, message in ((latin, "not UTF-8"), (tmp_path / "none", "No such file")):
        with pytest.raises(rw.RopewalkError, match=message):
            Document.read(path, tokenizer)
