"""A model's tokenizer as tasks use it: texts to exact numbers of tokens.

Letters that spell a special token are text: a needle may hold ``<|endoftext|>``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ropewalk.evaluation.bos import opening_ids

CONTINUED_CHARACTERS = 16
"""Of a prompt, encoded again with what follows it."""


class TextTokenizer(Protocol):
    """What tasks ask of a tokenizer; those of transformers have it."""

    @property
    def bos_token_id(self) -> int | None: ...

    @property
    def all_special_ids(self) -> Sequence[int]: ...

    def __call__(
        self, text: Any, *, add_special_tokens: bool, split_special_tokens: bool
    ) -> Mapping[str, Any]:
        """``input_ids`` ``[n]`` of a text, or of each of a list of texts."""
        ...

    def decode(self, token_ids: list[int]) -> Any: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """Texts to token ids and back.

    opening  ids before the first text of a sequence: the BOS, or none
    """

    tokenizer: TextTokenizer
    opening: tuple[int, ...] = ()

    @classmethod
    def of(cls, tokenizer: TextTokenizer, bos: str = "auto") -> "Tokens":
        """A tokenizer, with a BOS as ``bos`` says. Raises RopewalkError as ``opening_ids``."""
        return cls(tokenizer=tokenizer, opening=opening_ids(tokenizer, bos))

    def ids(self, text: str) -> list[int]:
        """Of a text as it stands, without special tokens."""
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, encoded alone."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
        return [len(ids) for ids in encoded["input_ids"]]

    def continuation(self, text: str, more: str) -> list[int]:
        """Ids of ``more`` after ``text``; alone where the tokenizer merges the two."""
        end = text[-CONTINUED_CHARACTERS:]
        end = end[max(end.find(" "), 0) :]
        before, both = self.ids(end), self.ids(end + more)
        return both[len(before) :] if both[: len(before)] == before else self.ids(more)

    def text(self, ids: Sequence[int]) -> str:
        """Of ids."""
        return str(self.tokenizer.decode(list(ids)))

    def ordinary(self) -> list[int]:
        """Ids that are no special token, ascending: words with a space before them, if a thousand
        or more are such, else all.
        """
        special = set(self.tokenizer.all_special_ids)
        every = [number for number in range(len(self.tokenizer)) if number not in special]
        words = [number for number in every if _is_word(self.text([number]))]
        return words if len(words) >= 1000 else every


def _is_word(text: str) -> bool:
    word = text.removeprefix(" ")
    return len(word) >= 2 and word.isascii() and word.isalpha()
