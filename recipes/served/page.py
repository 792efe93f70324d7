"""docs/served.md: what running servers computed, from docs/results/served.json.

python -m recipes.served.run
python -m recipes.pages served
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from recipes.pages import ROOT, Blocks, Record, result, table

SERVED = ROOT / "docs" / "served.md"
ENGINES = ("vllm", "sglang", "llama.cpp")
NOT_RUN = "not run"
_LONGEST = 110


BOTH = ("served", "here")


def blocks() -> Blocks:
    cells: list[Record] = result("served")["cells"]
    of_part = {name: [each for each in cells if each["part"] == name] for name in PARTS}
    texts = {f"served-{name}": write(of_part[name]) for name, write in PARTS.items()}
    compared = result("compared-served")["engines"]
    return {SERVED: {**texts, "served-rest": _rest(cells), "served-compared": _compared(compared)}}


def _compared(engines: Mapping[str, Sequence[Record]]) -> str:
    """Nats through a server and here, and the answers that rank first in both."""
    rows = [
        [
            engine,
            f"`{each['task']}`",
            f"{each['length']:,}",
            *(f"{each[where]:.6f}" for where in BOTH),
            *("" if each[f"{w}_rank_1"] is None else f"{each[f'{w}_rank_1']:.0%}" for w in BOTH),
        ]
        for engine, cells in engines.items()
        for each in cells
        if each["status"] == "ok"
    ]
    header = ["engine", "task", "length", "nats, served", "here", "ranked first, served", "here"]
    return table(header, rows)


def _own(cells: Sequence[Record]) -> str:
    """Each method by engine: the difference of what was named, and of the runner-up."""
    rows = [
        [f"`{_named(served)}`", *_by_engine(group, _identified)]
        for served, group in _grouped(cells, "served")
    ]
    return f"{_count(cells)}\n\n{table(['method', *ENGINES], rows)}{_errors(cells)}"


def _faults(cells: Sequence[Record]) -> str:
    rows = [
        [_started(group[0]), f"`{_named(group[0]['asked'])}`", *_by_engine(group, _verdict)]
        for _, group in _grouped(cells, "model", "served", "asked")
    ]
    return f"{table(['started as', 'asked', *ENGINES], rows)}{_errors(cells)}"


def _families(cells: Sequence[Record]) -> str:
    methods = list(dict.fromkeys(each["served"] for each in cells))
    rows = []
    for family, group in _grouped(cells, "model"):
        columns = [
            _by_engine([each for each in group if each["served"] == method], _identified)
            for method in methods
        ]
        rows.append(
            [family.removeprefix("tiny-"), *(each for column in columns for each in column)]
        )
    header = ["family", *(f"`{method}`, {engine}" for method in methods for engine in ENGINES)]
    return f"{_count(cells)}\n\n{table(header, rows)}{_errors(cells)}"


PARTS: dict[str, Callable[[Sequence[Record]], str]] = {
    "demo": _own,
    "faults": _faults,
    "plug-in": _own,
    "encoder": _faults,
    "families": _families,
    "smollm2": _own,
}


def _grouped(cells: Iterable[Record], *keys: str) -> list[tuple[str, list[Record]]]:
    """By what a key says (joined where there are several), in the order of first appearance."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for each in cells:
        found.setdefault(tuple(str(each[key]) for key in keys), []).append(each)
    return [(" ".join(names), group) for names, group in found.items()]


def _by_engine(group: Sequence[Record], show: Callable[[Record], str]) -> list[str]:
    found = {each["engine"]: show(each) for each in group}
    return [found.get(engine, "-") for engine in ENGINES]


def _identified(cell: Record) -> str:
    """``4e-06 (0.14)``; in bold what was not identified as itself."""
    if cell["error"]:
        return f"**{_trouble(cell)}**"
    if cell["verdict"] is None:
        return NOT_RUN
    rival = "-" if cell["runner_up_mean"] is None else format(cell["runner_up_mean"], ".2g")
    figures = f"{cell['mean']:.0e} ({rival})"
    return figures if cell["passed"] else f"**{_named(cell['verdict'])}** {figures}"


def _verdict(cell: Record) -> str:
    if cell["error"] or cell["verdict"] is None:
        return _identified(cell)
    since = "" if cell["departs_at"] is None else f", from {cell['departs_at']:,}"
    return f"{_named(cell['verdict'])}{since}"


def _started(cell: Record) -> str:
    weights = ", 4-bit weights" if cell["model"].endswith("4bit") else ""
    plain = " " in cell["served"]
    return f"{cell['served']}{weights}" if plain else f"`{_named(cell['served'])}`{weights}"


def _named(spec: str) -> str:
    """A spec without its lists, which are files of this recipe."""
    return "longrope with lists" if spec.startswith("longrope:") else spec


def _trouble(cell: Record) -> str:
    """Why there is no verdict, in a word or two: the export, the server, or its answers."""
    kind = str(cell["error"]).partition(":")[0]
    words = {"RopewalkError": "refused", "Refused": "no answer", "ComputesNaN": "no answer"}
    return words.get(kind, "does not start")


def _count(cells: Sequence[Record]) -> str:
    known = [each for each in cells if each["verdict"] is not None]
    own = sum(bool(each["passed"]) for each in known)
    return f"Identified as itself: {own} of {len(known)} servers."


def _errors(cells: Sequence[Record]) -> str:
    """What did not start, in the engine's own words."""
    found = _grouped([each for each in cells if each["error"]], "engine", "error")
    lines = [
        f"- {group[0]['engine']}, {', '.join(_case(each) for each in group)}: "
        f"{_shortened(group[0]['error'])}\n"
        for _, group in found
    ]
    return "\n" + "".join(lines) if lines else ""


def _case(cell: Record) -> str:
    return f"`{cell['model'].removeprefix('tiny-')}` under `{_named(cell['served'])}`"


def _shortened(text: str) -> str:
    words = " ".join(text.split()).replace("|", "/").replace("<", "&lt;")
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."


def _rest(cells: Sequence[Record]) -> str:
    """What has no result yet, with the command that measures it."""
    missing = [each for each in cells if each["verdict"] is None and not each["error"]]
    place = [(each["engine"], each["part"]) for each in missing]
    counts = [(key, len(list(group))) for key, group in groupby(sorted(place))]
    if not counts:
        return "Every cell of the plan was run.\n"
    lines = [
        f"- {count} of {part} on {engine}: `python -m recipes.served.run --engine {engine} "
        f"--part {part}`\n"
        for (engine, part), count in counts
    ]
    return "Not run:\n\n" + "".join(lines)
