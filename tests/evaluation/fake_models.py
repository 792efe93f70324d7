"""Models of known losses, and runs of them."""

from typing import NamedTuple

import torch

from ropewalk.core.passes import FullPass
from ropewalk.evaluation.cells import Series
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.protocols.protocol import SharedPasses
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.runs import RunFolder
from ropewalk.evaluation.setting import Setting

LENGTHS = (4, 8, 16)


RECORD = (
    "method", "mode", "length", "documents", "tokens_scored", "nll", "ppl", "bits_per_byte",
    "ci95", "ci95_over", "seconds", "peak_memory_bytes", "threads", "status", "reason",
)  # fmt: skip


def losses(ids: torch.Tensor, offset: float) -> torch.Tensor:
    """Of each token, from all before it. Eighths, so that sums of any order are exact."""
    before = ids.cumsum(0) - ids
    return ((7 * ids + 3 * before) % 101).double() / 8 + offset


class FakeModel:
    """Prefix-consistent. Counts its calls, and may raise at any of them. Source and session."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.fed: list[int] = []
        self.errors: dict[int, BaseException] = {}
        self.offset = 0.0
        self.opened: list[tuple[str, int]] = []

    def open(self):
        return self

    def use(self, method, length, split):
        self.opened.append((method.text, length))
        self.offset = float(len(method.canonical))
        return self

    def close(self):
        return None

    def token_losses(self, ids, first, split):
        self.fed.append(ids.shape[-1])
        if len(self.fed) in self.errors:
            raise self.errors[len(self.fed)]
        rows = [losses(row, self.offset)[first:] for row in torch.atleast_2d(ids)]
        return torch.stack(rows) if ids.ndim == 2 else rows[0]


class WholeSequenceModel(FakeModel):
    """Not prefix-consistent: every loss depends on the length of its pass."""

    def token_losses(self, ids, first, split):
        return super().token_losses(ids, first, split) + len(ids)


def text(name: str, tokens: int) -> Document:
    generator = torch.Generator().manual_seed(tokens)
    ids = torch.randint(0, 50, (tokens,), generator=generator)
    return Document(name=name, ids=ids, byte_lengths=torch.full((tokens,), 3))


SETTING = Setting(
    model="fake",
    trained_length=8,
    weights="w0",
    dtype="float64",
    protocol=Tail(tokens=2, windows=2),
    documents=(text("a", 40), text("b", 50)),
    code_version="1",
)


class CellMethod(NamedTuple):
    """What measuring asks of a method spec."""

    text: str
    canonical: str


def method(name: str) -> CellMethod:
    return CellMethod(text=name, canonical=f"{name}:all=1")


def series(name="none", lengths=LENGTHS, split=FullPass(), sharing=SharedPasses()):  # noqa: B008
    return Series(method=method(name), split=split, lengths=lengths, sharing=sharing)


TWO = (series("none"), series("linear:factor=2"))


def timeless(results):
    """Records without what differs from run to run."""
    varying = {"seconds": None, "peak_memory_bytes": None}
    return [{**result.record(), **varying} for result in results]


def run(setting, folder, model, asked=TWO, **options):
    return measure(setting, asked, model, RunFolder.open(folder, setting), **options)


def cell_files(folder):
    return sorted((folder / "cells").iterdir())


class Log(Silent):
    def __init__(self) -> None:
        self.total, self.done, self.cells = 0.0, 0.0, []

    def planned(self, cost):
        self.total = cost

    def advanced(self, job, cost):
        self.done += cost

    def finished(self, result):
        self.cells.append(result.cell)
