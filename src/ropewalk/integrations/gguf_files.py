"""A new GGUF file of another one: other keys and factor tensors, all else bit for bit."""

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from ropewalk.configs.gguf_layout import (
    FLOAT32_TENSOR,
    MAGIC,
    STRING,
    GGUFLayout,
    Tensor,
    padded,
    read_layout,
)
from ropewalk.core.errors import RopewalkError

_CHUNK = 1 << 24
_FLOAT, _WHOLE = 6, 4
Advanced = Callable[[float], None]


def write_gguf(
    source: Path,
    out: Path,
    *,
    keys: Mapping[str, str | int | float],
    drops: Callable[[str], bool],
    tensors: Mapping[str, tuple[float, ...]],
    check: Callable[[Path], None],
    advanced: Advanced = lambda share: None,
) -> None:
    """Write ``out`` beside its place, check it, and rename it.

    keys      whole names of pairs to set: float32, uint32 or a string
    drops     whether a pair of that whole name goes; pairs that are set go in any case
    tensors   float32 vectors by whole name; vectors of these names in ``source`` go, and so do
              those that ``drops`` names
    check     reads the new file back; raises RopewalkError where it is not what was asked for
    advanced  told the share that is written

    Raises RopewalkError where something lies at ``out``, and for a file that cannot be read or
    written; nothing is left then.
    """
    if out.exists():
        raise RopewalkError(f"{out} is there already: expected a new file; give another name")
    layout = read_layout(source)
    partial = out.with_name(f".{out.name}.{uuid4().hex}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as old, partial.open("xb") as new:
            _write(_Copy(old, new, layout), keys, drops, tensors, advanced)
            new.flush()
            os.fsync(new.fileno())
        check(partial)
        partial.replace(out)
    except OSError as error:
        raise RopewalkError(
            f"{out} cannot be written ({error.strerror or error}); make room or give another "
            "place, and run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


class _Copy:
    """Bytes of one file on their way into another."""

    def __init__(self, old: BinaryIO, new: BinaryIO, layout: GGUFLayout) -> None:
        self.old, self.new, self.layout = old, new, layout

    def bytes_of(self, start: int, end: int) -> Iterator[int]:
        """Copies them; yields how many after each piece."""
        self.old.seek(start)
        while start < end:
            piece = self.old.read(min(_CHUNK, end - start))
            if not piece:
                raise OSError("the file that it is made of is cut off")
            self.new.write(piece)
            start += len(piece)
            yield len(piece)

    def pad(self) -> None:
        at = self.new.tell()
        self.new.write(bytes(padded(at, self.layout.alignment) - at))


def _write(
    copy: _Copy,
    keys: Mapping[str, str | int | float],
    drops: Callable[[str], bool],
    tensors: Mapping[str, tuple[float, ...]],
    advanced: Advanced,
) -> None:
    layout = copy.layout
    pairs = [pair for pair in layout.pairs if pair.key not in keys and not drops(pair.key)]
    spans = [
        (tensor, start, end)
        for tensor, start, end in _spans(copy)
        if tensor.name not in tensors and not drops(tensor.name)
    ]
    counts = (layout.version, len(spans) + len(tensors), len(pairs) + len(keys))
    copy.new.write(MAGIC + struct.pack("<IQQ", *counts))
    for pair in pairs:
        for _ in copy.bytes_of(pair.start, pair.end):
            pass
    copy.new.write(b"".join(_pair(key, value) for key, value in keys.items()))
    offset = 0
    for tensor, start, end in spans:
        copy.new.write(_entry(tensor, offset))
        offset += padded(end - start, layout.alignment)
    for name, values in tensors.items():
        entry = Tensor(name=name, sizes=(len(values),), type=FLOAT32_TENSOR, offset=0)
        copy.new.write(_entry(entry, offset))
        offset += padded(4 * len(values), layout.alignment)
    copy.pad()
    done = 0
    for _, start, end in spans:
        for count in copy.bytes_of(start, end):
            done += count
            advanced(done / max(offset, 1))
        copy.pad()
    for values in tensors.values():
        copy.new.write(struct.pack(f"<{len(values)}f", *values))
        copy.pad()


def _spans(copy: _Copy) -> Iterator[tuple[Tensor, int, int]]:
    """Each tensor with its bytes in the old file, padding included."""
    layout = copy.layout
    begins = sorted({tensor.offset for tensor in layout.tensors})
    size = copy.old.seek(0, os.SEEK_END) - layout.data
    ends = dict(zip(begins, [*begins[1:], size], strict=True))
    for tensor in layout.tensors:
        yield tensor, layout.data + tensor.offset, layout.data + ends[tensor.offset]


def _entry(tensor: Tensor, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(tensor.sizes)}Q", len(tensor.sizes), *tensor.sizes)
    return _string(tensor.name) + sizes + struct.pack("<IQ", tensor.type, offset)


def _pair(key: str, value: str | int | float) -> bytes:
    match value:
        case str():
            return _string(key) + struct.pack("<I", STRING) + _string(value)
        case int():
            return _string(key) + struct.pack("<II", _WHOLE, value)
    return _string(key) + struct.pack("<If", _FLOAT, value)


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content
