"""Stretches: pieces of texts of one exact length, and parts of a text that share no token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Stretches for a search, for a choice among what it found, and for the verdict."""

    search: tuple[Document, ...]
    choice: tuple[Document, ...]
    test: tuple[Document, ...]


def stretches(document: Document, length: int) -> tuple[Document, ...]:
    """A text from its first token on in pieces of ``length``; what is left is dropped."""
    return tuple(
        Document(
            name=f"{document.name}, tokens {start} to {start + length}",
            ids=document.ids[start : start + length],
            byte_lengths=document.byte_lengths[start : start + length],
            opening=document.opening,
        )
        for start in range(0, len(document) - length + 1, length)
    )


def parts(
    texts: Sequence[Sequence[Document]],
    sizes: tuple[int, int, int],
    heldout: Sequence[Sequence[Document]] = (),
) -> Parts:
    """As many stretches of each part as ``sizes`` says.

    texts     the stretches of each text, in its order
    heldout  those of texts of the test part; without any, each text's last stretches are tested
              and those between them and the first are chosen on

    Raises RopewalkError for texts that are too short.
    """
    search, choice, test = sizes
    if heldout:
        first, second = _dealt(texts, (search, choice))
        (third,) = _dealt(heldout, (test,))
    else:
        first, second, third = _dealt(texts, sizes)
    return Parts(search=first, choice=second, test=third)


def _dealt(texts: Sequence[Sequence[Document]], sizes: Sequence[int]) -> list[tuple[Document, ...]]:
    """Each text is cut in consecutive parts in proportion to ``sizes``; a part's stretches are
    spread over what each text has of it, the texts in turn.
    """
    require_room(texts, sum(sizes))
    counts = [_shares(len(text), sizes) for text in texts]
    chosen: list[tuple[Document, ...]] = []
    for part, size in enumerate(sizes):
        offered = [
            text[sum(count[:part]) : sum(count[: part + 1])]
            for text, count in zip(texts, counts, strict=True)
        ]
        chosen.append(tuple(_in_turn(offered, size)))
    return chosen


def require_room(texts: Sequence[Sequence[Document]], count: int) -> None:
    """Raise RopewalkError, with the remedy, for fewer stretches than ``count``."""
    room = sum(map(len, texts))
    if room < count:
        raise RopewalkError(
            f"the texts have {room} stretches of that length: expected at least {count}; give a "
            "longer --text, a shorter --length, or fewer --documents"
        )


def require_different(texts: Sequence[Document]) -> None:
    """Raise RopewalkError for two texts of the same tokens: they would be searched and tested on,
    or count twice where every stretch is to count once.
    """
    known: dict[str, str] = {}
    for text in texts:
        if text.digest in known:
            raise RopewalkError(
                f"{known[text.digest]} and {text.name} hold the same tokens: expected texts that "
                "differ, since parts share no token; drop one"
            )
        known[text.digest] = text.name


def _shares(pieces: int, sizes: Sequence[int]) -> list[int]:
    """``pieces`` divided in proportion, nothing left over."""
    ends = [round(pieces * sum(sizes[: part + 1]) / sum(sizes)) for part in range(len(sizes))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _in_turn(offered: Sequence[Sequence[Document]], size: int) -> Iterator[Document]:
    """``size`` of them: as even a number of each text as there are, spread over each."""
    taken = [0] * len(offered)
    while sum(taken) < size:
        open_ones = [text for text, each in enumerate(offered) if taken[text] < len(each)]
        if not open_ones:
            raise RopewalkError(
                f"{sum(taken)} stretches in a part of the texts: expected {size}; give longer texts"
            )
        taken[min(open_ones, key=lambda text: taken[text])] += 1
    spread = [
        [pieces[number * len(pieces) // count] for number in range(count)]
        for pieces, count in zip(offered, taken, strict=True)
    ]
    for turn in zip_longest(*spread):
        yield from (each for each in turn if each is not None)
