"""Where the parts of a GGUF file lie: its key-value pairs and the table of its tensors.

    "GGUF" | version u32 | tensors u64 | pairs u64
    pairs     key string | type u32 | value
    tensors   name string | dimensions u32 | sizes u64 ... | type u32 | offset u64
    padding to the alignment, then the tensors' data

The ``gguf`` package turns every token of a vocabulary into objects, 15 seconds for a small model;
here a vocabulary is stepped over, and what is asked for is read at its place.

Source: ggml docs/gguf.md, version 3 (2 has the same layout).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ropewalk.core.errors import RopewalkError

MAGIC = b"GGUF"
ALIGNMENT_KEY = "general.alignment"
STRING, ARRAY, FLOAT32_TENSOR = 8, 9, 0
SCALARS: Mapping[int, str] = MappingProxyType(
    dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
)
"""Types of values -> formats of ``struct``."""
_ALIGNMENT = 32
_LARGEST_COUNT = 2**24
_LONGEST_LIST = 2**14
"""Entries of a list that are read; a vocabulary has more."""
_VERSIONS = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A key-value pair: ``start`` to ``end`` are its bytes, ``value`` None where it is not read."""

    key: str
    start: int
    end: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An entry of the table of tensors; ``offset`` from the begin of the data, in bytes."""

    name: str
    sizes: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFLayout:
    """A file's parts; ``data`` is where the tensors' data begins, in bytes."""

    version: int
    pairs: tuple[Pair, ...]
    tensors: tuple[Tensor, ...]
    alignment: int
    data: int

    @property
    def values(self) -> dict[str, Any]:
        """What was read, by key."""
        return {pair.key: pair.value for pair in self.pairs}


def read_layout(path: Path) -> GGUFLayout:
    """The parts of a file. Raises RopewalkError for a file that is none, or is cut off."""
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _Reader(content).layout()
    except (struct.error, ValueError, OSError, MemoryError, OverflowError) as error:
        raise RopewalkError(
            f"{path}: its header cannot be read ({type(error).__name__}: {error}); "
            "expected a GGUF file; download it again"
        ) from error


def read_floats(path: Path, layout: GGUFLayout, tensor: Tensor) -> tuple[float, ...]:
    """The numbers of a float32 tensor. Raises RopewalkError for another type, or a cut-off file."""
    count = 1
    for size in tensor.sizes:
        count *= size
    if tensor.type != FLOAT32_TENSOR or count > _LONGEST_LIST:
        raise RopewalkError(f"{path}: {tensor.name}: expected a few float32 numbers; convert again")
    with path.open("rb") as file:
        file.seek(layout.data + tensor.offset)
        found = file.read(4 * count)
    if len(found) != 4 * count:
        raise RopewalkError(f"{path} is cut off before {tensor.name}; download it again")
    return struct.unpack(f"<{count}f", found)


def padded(count: int, alignment: int) -> int:
    """The next multiple of the alignment."""
    return -(-count // alignment) * alignment


class _Reader:
    """Steps through a header."""

    def __init__(self, content: mmap) -> None:
        self._content = content
        self._at = 0

    def layout(self) -> GGUFLayout:
        if self._content[:4] != MAGIC:
            raise ValueError(f"it begins with {self._content[:4]!r}")
        self._at = 4
        version = self._number("I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version}, or the bytes of a big-endian machine")
        tensors, pairs = self._count(), self._count()
        found = tuple(self._pair() for _ in range(pairs))
        table = tuple(self._tensor() for _ in range(tensors))
        stated = next((pair.value for pair in found if pair.key == ALIGNMENT_KEY), _ALIGNMENT)
        if not isinstance(stated, int) or not 1 <= stated <= _LARGEST_COUNT:
            raise ValueError(f"alignment {stated}")
        return GGUFLayout(
            version=version,
            pairs=found,
            tensors=table,
            alignment=stated,
            data=padded(self._at, stated),
        )

    def _pair(self) -> Pair:
        start = self._at
        key = self._string()
        value = self._value(self._number("I"))
        return Pair(key=key, start=start, end=self._at, value=value)

    def _tensor(self) -> Tensor:
        name, dimensions = self._string(), self._number("I")
        if dimensions > 8:
            raise ValueError(f"{dimensions} dimensions")
        sizes = tuple(self._number("Q") for _ in range(dimensions))
        return Tensor(name=name, sizes=sizes, type=self._number("I"), offset=self._number("Q"))

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        return self._list() if kind == ARRAY else self._number(_format(kind))

    def _list(self) -> list[Any] | None:
        """Its entries; None for a long one, which is stepped over."""
        kind, count = self._number("I"), self._count()
        if count <= _LONGEST_LIST and kind != ARRAY:
            return [self._value(kind) for _ in range(count)]
        if kind == STRING:
            for _ in range(count):
                self._skip(self._number("Q"))
        elif kind == ARRAY:
            raise ValueError("a list of lists")
        else:
            self._skip(count * struct.calcsize(f"<{_format(kind)}"))
        return None

    def _string(self) -> str:
        length = self._number("Q")
        start = self._at
        self._skip(length)
        return self._content[start : self._at].decode("utf-8", errors="replace")

    def _count(self) -> int:
        count: int = self._number("Q")
        if count > _LARGEST_COUNT:
            raise ValueError(f"{count} entries")
        return count

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._content):
            raise ValueError("it is cut off")


def _format(kind: int) -> str:
    if kind not in SCALARS:
        raise ValueError(f"type {kind} of a value")
    return SCALARS[kind]
