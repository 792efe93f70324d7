"""Texts to train on and texts to measure on, of the same files."""

from collections.abc import Sequence

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document

SHARE = 10
"""One tenth of each text is kept out."""


def kept_out(
    documents: Sequence[Document], length: int
) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """(to train on, to measure on): all but the last tenth of each text, and that tenth.

    A tenth that does not hold two windows of ``length`` tokens is left out. Raises RopewalkError
    where none is long enough.
    """
    cuts = [len(each) - len(each) // SHARE for each in documents]
    train = tuple(_part(each, 0, cut) for each, cut in zip(documents, cuts, strict=True))
    rest = [
        _part(each, cut, len(each))
        for each, cut in zip(documents, cuts, strict=True)
        if len(each) - cut >= 2 * length
    ]
    if not rest:
        longest = max(map(len, documents), default=0)
        raise RopewalkError(
            f"the longest text has {longest} tokens: its last tenth, which is kept out to measure "
            f"on, does not hold two windows of {length}; give a text of {2 * SHARE * length} "
            "tokens, or files to measure on (--heldout)"
        )
    return train, tuple(rest)


def _part(document: Document, first: int, last: int) -> Document:
    name = f"{document.name}[{first}:{last}]"
    return Document(
        name=name,
        ids=document.ids[first:last],
        byte_lengths=document.byte_lengths[first:last],
        opening=document.opening,
    )
