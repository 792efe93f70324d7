"""A tokenised text, with the bytes of every token.

Bits per byte compare models with different tokenizers, so the bytes of a scored span must
be exact: the byte lengths of all tokens add up to the bytes of the text.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ropewalk.core.errors import RopewalkError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


class Tokenizer(Protocol):
    """What encoding a document asks for; a fast tokenizer of transformers has it."""

    def __call__(
        self,
        text: str,
        *,
        return_offsets_mapping: bool,
        add_special_tokens: bool,
        split_special_tokens: bool,
    ) -> Mapping[str, Any]:
        """``input_ids`` ``[n]``, and ``offset_mapping``: (start, stop) of each, in characters."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Document:
    """Token ids of one text and the UTF-8 bytes that each token stands for.

    name          shown in messages and in the manifest of a run
    ids           int64 ``[n]``, at least 2 tokens
    byte_lengths  int64 ``[n]``; adds up to the bytes of the text
    opening       ids with which a window begins: the tokenizer's BOS, or none

    Raises RopewalkError for fewer than 2 tokens or for tensors that do not fit together.
    """

    name: str
    ids: "Tensor"
    byte_lengths: "Tensor"
    opening: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        import torch

        for field, tensor in (("ids", self.ids), ("byte_lengths", self.byte_lengths)):
            if tensor.ndim != 1 or tensor.dtype != torch.int64 or len(tensor) != len(self.ids):
                raise RopewalkError(
                    f"document {self.name!r}: {field} of shape {tuple(tensor.shape)} and dtype "
                    f"{tensor.dtype}; expected one int64 number for each token"
                )
        if len(self) < 2:
            raise RopewalkError(
                f"document {self.name!r} has {len(self)} token(s): expected at least 2; "
                "a token is scored from those before it; give a longer text"
            )

    @classmethod
    def encode(
        cls, name: str, text: str, tokenizer: Tokenizer, opening: tuple[int, ...] = ()
    ) -> "Document":
        """Tokenise ``text`` as it stands: letters that spell a special token are text.

        Raises RopewalkError for empty text, text that UTF-8 cannot hold, a tokenizer that
        does not report offsets, or fewer than 2 tokens.
        """
        import torch

        if not text:
            raise RopewalkError(f"document {name!r} is empty: expected text; give another file")
        bytes_before = _bytes_before(name, text)
        try:
            encoded = tokenizer(
                text,
                return_offsets_mapping=True,
                add_special_tokens=False,
                split_special_tokens=True,
            )
        except NotImplementedError as error:
            raise RopewalkError(
                f"document {name!r}: the tokenizer reports no offsets; expected a fast "
                "tokenizer (one with a tokenizer.json)"
            ) from error
        lengths = _token_bytes(encoded["offset_mapping"], bytes_before)
        ids = torch.tensor(encoded["input_ids"], dtype=torch.int64)
        return cls(name=name, ids=ids, byte_lengths=torch.from_numpy(lengths), opening=opening)

    @classmethod
    def given(
        cls,
        name: str,
        content: "str | Tensor",
        tokenizer: Tokenizer | None,
        opening: tuple[int, ...] = (),
    ) -> "Document":
        """From a text, or from token ids int64 ``[n]``, whose bytes are unknown: 0.

        Raises RopewalkError as ``encode``, and for a text without a tokenizer.
        """
        if not isinstance(content, str):
            return cls(name=name, ids=content, byte_lengths=0 * content, opening=opening)
        if tokenizer is None:
            raise RopewalkError(f"{name} is text: expected token ids, or a tokenizer beside it")
        return cls.encode(name, content, tokenizer, opening)

    @classmethod
    def read(cls, path: Path, tokenizer: Tokenizer, opening: tuple[int, ...] = ()) -> "Document":
        """Tokenise a UTF-8 file. Raises RopewalkError as ``encode``, and if it cannot be read."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise RopewalkError(
                f"{path} cannot be read ({error.strerror}): give another file"
            ) from error
        except UnicodeDecodeError as error:
            raise RopewalkError(
                f"{path} is not UTF-8 (byte {error.start}): expected UTF-8 text; convert the file"
            ) from error
        return cls.encode(path.name, text, tokenizer, opening)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> str:
        """sha256 of the ids, as hexadecimal digits."""
        return hashlib.sha256(self.ids.cpu().numpy().astype("<i8").tobytes()).hexdigest()

    def bytes_between(self, first: int, last: int) -> int:
        """Bytes of the tokens ``first .. last - 1``."""
        return int(self.byte_lengths[first:last].sum())


def joined(documents: Sequence[Document]) -> Document:
    """The documents one after the other, as one stream."""
    import torch

    return Document(
        name=" + ".join(each.name for each in documents),
        ids=torch.cat([each.ids for each in documents]),
        byte_lengths=torch.cat([each.byte_lengths for each in documents]),
        opening=documents[0].opening,
    )


def _bytes_before(name: str, text: str) -> Integers:
    """UTF-8 bytes before each character, and of the whole text, int64 ``[characters + 1]``."""
    import numpy as np

    try:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    except UnicodeEncodeError as error:
        raise RopewalkError(
            f"document {name!r} holds {error.object[error.start]!r} at character {error.start}, "
            "which UTF-8 cannot encode; expected UTF-8 text; convert the file"
        ) from error
    widths = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])


def _token_bytes(offsets: Sequence[tuple[int, int]], bytes_before: Integers) -> Integers:
    """Bytes from the furthest character reached before a token to the furthest after it.

    A character split over several tokens counts for the first of them; characters that a
    tokenizer drops count for the next token, at the end of the text for the last one.
    """
    import numpy as np

    if not len(offsets):
        return np.zeros(0, np.int64)
    reached = np.maximum.accumulate(np.asarray(offsets, dtype=np.int64)[:, 1])
    reached[-1] = len(bytes_before) - 1
    return np.diff(bytes_before[reached], prepend=0)
