"""What the recipes of docs/evidence.md share: cells in order of importance, within some minutes.

Cells go into an ordinary run folder, so that a run that was stopped goes on where it was.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers
import typer

from ropewalk.api.checkpoints import identity, open_checkpoint
from ropewalk.api.comparison import Comparison, comparison_of
from ropewalk.api.request import read_documents, read_mode
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.cells import Cell, CellMethod, Failed, Measured, Record, Result, Series
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.memory import meter_of
from ropewalk.evaluation.runs import RunFolder
from ropewalk.storage.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A method in one mode at some lengths, in multiples of the trained length."""

    method: str
    multiples: tuple[float, ...]
    mode: str = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plan is measured.

    batch    sequences that go through the model at once
    minutes  no cell is begun later than this
    """

    windows: int
    tail_tokens: int
    dtype: str = "float32"
    device: str | None = None
    batch: int = 1
    minutes: float = 1e9


def measure_lines(
    model: Path | None,
    texts: Sequence[Path],
    plan: Callable[[int], Sequence[Line]],
    settings: Settings,
    *,
    out: Path,
    results: Path,
) -> None:
    """Measure the lines of ``plan(trained_length)``.

    plan     called with the trained length in tokens; the first lines matter most
    out      the run folder
    results  the JSON file of all cells so far, written after each; cells that it holds already,
             of the same setting, are not measured again where the run folder is gone
    """
    begun = time.monotonic()
    loaded = open_checkpoint(model, dtype=settings.dtype, device=settings.device)
    trained_length = loaded.config["max_position_embeddings"]
    lines = plan(trained_length)
    comparison = comparison_of(
        loaded.model,
        name=loaded.name,
        weights=identity(loaded),
        documents=read_documents(texts, loaded.require_tokenizer()),
        dtype=settings.dtype,
        methods=list(dict.fromkeys(line.method for line in lines)),
        lengths=sorted({n for line in lines for n in _tokens(line, trained_length)}),
        modes=list(dict.fromkeys(line.mode for line in lines)),
        windows=settings.windows,
        tail_tokens=settings.tail_tokens,
    )
    _say(begun, f"{loaded.name} on {comparison.device}: {len(lines)} lines")
    store = RunFolder.open(out, comparison.setting)
    earlier = _Earlier.read(results, _facts(comparison, settings))
    found: dict[Cell, Result] = {}
    with _KeptOpen(comparison) as kept:
        for one in _one_length_at_a_time(comparison, lines):
            cell = _cell(one)
            held = store.load(comparison.setting.key(cell), cell)
            if held is not None:
                found[cell] = held
            elif _place(cell) in earlier.cells:
                continue
            elif time.monotonic() - begun < 60 * settings.minutes:
                found[cell] = _measure(comparison, kept, one, store, settings)
                _say(begun, _told(found[cell]))
                write(_document(comparison, found, earlier, out, settings), results)
    write(_document(comparison, found, earlier, out, settings), results)


def write(document: Mapping[str, object], path: Path) -> None:
    """A results file."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(path, text.encode())


def environment(device: torch.device, dtype: str, batch: int) -> dict[str, object]:
    """What figures, seconds and memory depend on."""
    processor = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "dtype": dtype,
        "batch": batch,
    }


class _KeptOpen:
    """A method stays in the model from one length to the next: proving it takes a while.

    For methods that are the same at every length, as those of a plan are.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison, self._stack = comparison, ExitStack()
        self._held: tuple[CellMethod, Pass] | None = None
        self._model: LanguageModel | None = None

    def __enter__(self) -> "_KeptOpen":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def open_model(self, method: CellMethod, length: int, split: Pass) -> Iterator[LanguageModel]:
        if self._held != (method, split):
            self._stack.close()
            self._held = None
            opened = self._comparison.open_model(method, length, split)
            self._model = self._stack.enter_context(opened)
            self._held = (method, split)
        yield self._model


def _measure(
    comparison: Comparison, kept: _KeptOpen, one: Series, store: RunFolder, settings: Settings
) -> Result:
    (result,) = measure(
        comparison.setting,
        [one],
        kept.open_model,
        store,
        meter=meter_of(comparison.device),
        batch=settings.batch,
    )
    return result


def _one_length_at_a_time(comparison: Comparison, lines: Sequence[Line]) -> Iterator[Series]:
    series = {(each.method.text, each.split): each for each in comparison.series}
    for line in lines:
        for length in _tokens(line, comparison.geometry.trained_length):
            yield replace(series[line.method, read_mode(line.mode)], lengths=(length,))


def _tokens(line: Line, trained_length: int) -> list[int]:
    return [round(multiple * trained_length) for multiple in line.multiples]


def _cell(one: Series) -> Cell:
    return Cell(method=one.method, split=one.split, length=one.lengths[0])


Place = tuple[str, str, int]
"""Method, mode and length of a cell."""


def _place(cell: Cell) -> Place:
    return cell.method.text, cell.split.name, cell.length


def _by_place(records: Sequence[Record]) -> dict[Place, Record]:
    return {(each["method"], each["mode"], each["length"]): each for each in records}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """What a results file holds of the same setting: records and differences of cells."""

    cells: Mapping[Place, Record]
    differences: Mapping[Place, Record]

    @classmethod
    def read(cls, results: Path, facts: Mapping[str, object]) -> "_Earlier":
        held = json.loads(results.read_text("utf-8")) if results.exists() else {}
        if any(held.get(name) != value for name, value in facts.items()):
            return cls(cells={}, differences={})
        measured = [cell for cell in held["cells"] if cell["status"] == "ok"]
        return cls(cells=_by_place(measured), differences=_by_place(held["differences"]))


def _document(
    comparison: Comparison,
    found: Mapping[Cell, Result],
    earlier: _Earlier,
    out: Path,
    settings: Settings,
) -> dict[str, object]:
    results = tuple(found.values())
    records = {**earlier.cells, **_by_place([result.record() for result in results])}
    told = _by_place(differences(results, comparison.baseline))
    document = comparison.document(list(records.values()), out)
    return {
        **document,
        "run_dir": f"runs/{out.name}",
        "baseline": comparison.baseline,
        "differences": list({**earlier.differences, **told}.values()),
        **_facts(comparison, settings),
    }


def _facts(comparison: Comparison, settings: Settings) -> dict[str, object]:
    """What all cells of a results file have in common."""
    documents = comparison.setting.documents
    return {
        "model": comparison.setting.model,
        "protocol": comparison.setting.protocol.text,
        "texts": [{"name": each.name, "tokens": len(each)} for each in documents],
        "environment": environment(comparison.device, settings.dtype, settings.batch),
    }


def _told(result: Result) -> str:
    cell = result.cell
    name = f"{cell.method.text}, {cell.split.name}, {cell.length:,}"
    match result:
        case Measured():
            record = result.record()
            return f"{name}: nll {record['nll']:.4f}, {record['seconds']:.1f} s"
        case Failed(reason=reason):
            return f"{name}: failed: {reason}"


def _say(begun: float, text: str) -> None:
    typer.echo(f"{time.monotonic() - begun:6.1f} s  {text}")
