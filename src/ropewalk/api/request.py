"""What a comparison is asked for, from words to values."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass, Pass, StreamPass
from ropewalk.data import demo_book
from ropewalk.evaluation.documents import Document, Tokenizer
from ropewalk.methods.spec import NATIVE, Spec, parse_spec

DEFAULT_MULTIPLES = ("0.5x", "1x", "2x", "4x", "8x")
DEFAULT_METHODS = (
    "none",
    "linear",
    "ntk_aware",
    "dynamic_ntk:step=32",
    "ntk_by_parts",
    "yarn",
    "dynamic_yarn:step=32",
    "llama3",
    "rerope",
    "leaky_rerope",
    "self_extend",
    "dual_chunk",
    "rerope+log_n",
)
"""Frequencies and distances that need no more than a factor, and one composition."""


def check_words(methods: Sequence[str], modes: Sequence[str]) -> None:
    """Read what needs no model, so that a mistyped word is told before a model is loaded."""
    for method in methods:
        parse_spec(method)
    for mode in modes:
        read_mode(mode)


def read_specs(methods: Sequence[str], native: Encoding, unscaled: Encoding) -> list[Spec]:
    """The specs asked for, or the default ones: ``native`` first where it is not plain RoPE.

    Raises RopewalkError for a spec that cannot be read or is given twice.
    """
    shipped = () if native.frequencies == unscaled.frequencies else (NATIVE,)
    texts = list(methods) or [*shipped, *DEFAULT_METHODS]
    for text in texts:
        if texts.count(text) > 1:
            raise RopewalkError(f"--method {text} is given twice; drop one")
    return [parse_spec(text) for text in texts]


def read_lengths(lengths: Sequence[int | str], trained_length: int) -> tuple[int, ...]:
    """Tokens of each length, ascending; ``2x`` is twice the trained length.

    Raises RopewalkError for fewer than 2 tokens or a word that is no length.
    """
    chosen = lengths or DEFAULT_MULTIPLES
    tokens = {length_in_tokens(length, trained_length) for length in chosen}
    return tuple(sorted(tokens))


def length_in_tokens(length: int | str, trained_length: int) -> int:
    """Tokens of ``4096``, ``"4096"`` or ``"2x"``."""
    word = str(length)
    try:
        tokens = (
            round(float(word.removesuffix("x")) * trained_length)
            if word.endswith("x")
            else int(word)
        )
    except (ValueError, OverflowError) as error:
        raise RopewalkError(
            f"length {word}: expected tokens or a multiple of the trained length, like 4096 or 2x"
        ) from error
    if tokens < 2:
        raise RopewalkError(f"length {word}: expected at least 2 tokens")
    return tokens


def read_mode(word: str) -> Pass:
    """``full``, ``stream``, ``stream:P``, ``decode`` or ``chunked:N``; else RopewalkError."""
    plain: Mapping[str, Pass] = {
        "full": FullPass(),
        "stream": StreamPass(),
        "decode": DecodePass(),
    }
    if word in plain:
        return plain[word]
    sized: Mapping[str, Callable[[int], Pass]] = {"chunked": ChunkedPass, "stream": StreamPass}
    name, _, size = word.partition(":")
    if name in sized and size.isdecimal():
        return sized[name](int(size))
    raise RopewalkError(
        f"mode {word}: expected full, stream, decode or chunked:N, like chunked:512"
    )


def read_documents(texts: Sequence[Path], tokenizer: Tokenizer) -> tuple[Document, ...]:
    """Each file as a document; without files, the bundled book.

    Raises RopewalkError for a file that cannot be read, is empty or is not UTF-8.
    """
    return tuple(
        Document.encode(path.name, _read_text(path), tokenizer) for path in texts or [demo_book()]
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RopewalkError(
            f"{path} cannot be read ({error.strerror}): give another file"
        ) from error
    except UnicodeDecodeError as error:
        raise RopewalkError(
            f"{path} is not UTF-8 (byte {error.start}): expected UTF-8 text; convert the file"
        ) from error
