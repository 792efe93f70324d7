"""What is asked for, from words to values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass, Pass, StreamPass
from ropewalk.evaluation.tasks.longppl import LONGPPL
from ropewalk.evaluation.tasks.table import GENERATORS
from ropewalk.evaluation.units import LOSS
from ropewalk.methods.spec import NATIVE, parse_spec
from ropewalk.methods.unscaled import none

DEFAULT_MULTIPLES = ("0.5x", "1x", "2x", "4x", "8x")
LONGEST = 2**40
"""Tokens: beyond it positions and factors are no numbers that a model is given."""
ALL_TASKS = "all"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A method in one mode, over lengths of its own: tokens, or trained lengths as ``2x``."""

    method: str
    lengths: Sequence[int | str] = ()
    mode: str = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured, in the words of ``ropewalk compare --help``.

    lines  instead of methods, lengths and modes
    tasks  none: the loss
    """

    methods: Sequence[str] = ()
    lengths: Sequence[int | str] = ()
    modes: Sequence[str] = ()
    lines: Sequence[Line] = ()
    protocol: str = "tail"
    windows: int | None = None
    tail_tokens: int | None = None
    stride: int | None = None
    tasks: Sequence[str] = ()

    def check(self) -> None:
        """Raise RopewalkError for a mistyped word, before a model is loaded."""
        check_words(
            [*self.methods, *(line.method for line in self.lines)],
            [*self.modes, *(line.mode for line in self.lines)],
        )
        read_tasks(self.tasks)

    def all_lines(self, native: Encoding) -> Sequence[Line]:
        """A line for each mode and method; without a method, the default ones.

        Raises RopewalkError for a method that is given twice.
        """
        methods = list(self.methods) or list(default_methods(native))
        for method in methods:
            if methods.count(method) > 1:
                raise RopewalkError(f"--method {method} is given twice; drop one")
        return self.lines or [
            Line(method=method, lengths=self.lengths, mode=mode)
            for mode in self.modes or ("full",)
            for method in methods
        ]


def default_methods(native: Encoding) -> tuple[str, ...]:
    """What is compared of a model without a word: ``native`` first where it is not plain RoPE,
    and it alone where nothing rotates.
    """
    shipped = () if native.frequencies == none(native.geometry).frequencies else (NATIVE,)
    return (*shipped, *(() if native.frequencies is None else DEFAULT_METHODS))


def check_words(methods: Sequence[str], modes: Sequence[str]) -> None:
    """Read what needs no model, so that a mistyped word is told before a model is loaded."""
    for method in methods:
        parse_spec(method)
    for mode in modes:
        read_mode(mode)


def read_tasks(words: Sequence[str]) -> tuple[str, ...]:
    """Names of tasks, each once; ``all`` is all but ``qa``, which needs a file of questions.

    Raises RopewalkError for another word.
    """
    named = (LOSS.name, LONGPPL.name, *GENERATORS)
    every = [name for name in named if name != "qa"]
    for word in words:
        if word not in (*named, ALL_TASKS):
            raise RopewalkError(f"task {word}: expected one of {', '.join((*named, ALL_TASKS))}")
    chosen = [name for word in words for name in (every if word == ALL_TASKS else [word])]
    return tuple(dict.fromkeys(chosen)) or (LOSS.name,)


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
    if tokens > LONGEST:
        raise RopewalkError(f"length {word}: expected at most 2^40 tokens")
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
