"""BOS: the token that a sequence begins with, once, or not at all."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

from ropewalk.core.errors import RopewalkError

Bos = Literal["auto", "always", "never"]
"""Whether a sequence begins with the tokenizer's BOS; ``auto``: as the tokenizer does."""


class BosTokenizer(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    @property
    def bos_token_id(self) -> int | None: ...

    def __call__(
        self, text: Any, *, add_special_tokens: bool, split_special_tokens: bool
    ) -> Mapping[str, Any]:
        """``input_ids`` ``[n]`` of a text."""
        ...


def opening_ids(tokenizer: BosTokenizer, bos: str) -> tuple[int, ...]:
    """The BOS that a sequence begins with, once, or nothing.

    Raises RopewalkError for ``always`` where the tokenizer has none, or for another word.
    """
    check_bos(bos)
    begin = tokenizer.bos_token_id
    if bos == "never":
        return ()
    if bos == "always":
        if begin is None:
            raise RopewalkError("bos always: this tokenizer has no BOS; use bos auto or never")
        return (begin,)
    added = tokenizer("a", add_special_tokens=True, split_special_tokens=True)["input_ids"]
    return (begin,) if begin is not None and list(added[:1]) == [begin] else ()


def check_bos(word: str) -> None:
    """Raise RopewalkError for a word that is none of ``Bos``."""
    if word not in get_args(Bos):
        raise RopewalkError(f"bos {word}: expected {', '.join(get_args(Bos))}")
