"""Retrieval beside loss, for docs/evidence.md and the README."""

from collections.abc import Iterator, Sequence
from typing import Any

from recipes.pages import EVIDENCE, README, RESULTS, Blocks, Record, result, table, where
from recipes.retrieval.plan import PER_QUERY, TOY_METHODS
from recipes.seed.plan import AT_BIRTH
from ropewalk.reporting.table import perplexity_text
from ropewalk.reporting.tasks import RETRIEVED

INDUCTION = "Task `induction`: four random tokens that stood in the context once; what followed?"
KEY_VALUE = "Task `key_value`: pairs of random tokens, and a key again; which value was its own?"
LOST = 0.5
"""Share of answers below which a method is said to have lost them."""


def blocks() -> Blocks:
    toy = _toy() if _there("toy") else {}
    real = _real() if _there("smollm2") else _missing("--model SmolLM2-135M-Instruct.Q4_1.gguf")
    missing = _missing("")
    evidence = {
        "retrieval-toy": toy.get("methods", missing),
        "retrieval-frozen": toy.get("frozen", missing),
        "retrieval-smollm2": real,
    }
    readme = toy.get("readme", "")
    return {EVIDENCE: evidence, README: {"retrieval": readme}}


def _there(name: str) -> bool:
    return (RESULTS / f"retrieval-{name}.json").is_file()


def _missing(words: str) -> str:
    return f"Not measured yet: `{' '.join(['python -m recipes.retrieval.run', words]).strip()}`.\n"


def _toy() -> dict[str, str]:
    document = result("retrieval-toy")
    head = f"{_setting(document)} A cell: the answer is likeliest / right when generated.\n\n"
    induction = _methods(document, "induction")
    pairs = _methods(document, "key_value")
    both = f"{INDUCTION}\n\n{induction}\n{KEY_VALUE}\n\n{pairs}"
    found = "".join(f"- {each}\n" for each in _findings(document))
    return {
        "methods": f"{head}{both}\n{found}",
        "frozen": _frozen(document),
        "readme": f"{head}{INDUCTION}\n\n{induction}\nMore: "
        "[docs/evidence.md](docs/evidence.md#retrieval).\n",
    }


def _setting(document: Record) -> str:
    trials = max(each["trials"] or 0 for each in document["cells"] if "task" in each)
    name = "the bundled toy model" if document["model"] == "toy" else document["model"]
    return (
        f"Retrieval of {name} (trained length {document['trained_length']:,}; "
        f"{trials} trials a cell; {where(document)})."
    )


def _cell(document: Record, task: str, method: str, mode: str, length: int) -> Any:
    """The cell that was measured there, or None."""
    wanted = (task, method, mode, length)
    for each in document["cells"]:
        place = (each.get("task"), each["method"], each["mode"], each["length"])
        if place == wanted and each["status"] == "ok":
            return each
    return None


def _methods(document: Record, task: str) -> str:
    """By method and length, of full passes."""
    ran = [each for each in document["cells"] if each.get("task") == task]
    lengths = sorted({each["length"] for each in ran if each["method"] == "none"})
    shown = [each for each in TOY_METHODS if any(cell["method"] == each for cell in ran)]
    rows = (
        [f"`{method}`", *(_both(_cell(document, task, method, "full", n)) for n in lengths)]
        for method in shown
    )
    return table(["method", *(f"{n:,}" for n in lengths)], rows)


def _both(cell: Any) -> str:
    if cell is None:
        return "-"
    right = cell["generation"]["right"] / cell["trials"]
    value = f"{cell['value']:.0%}" if cell["metric"] == "rank_1" else f"{cell['value']:.2f} nats"
    return f"{value} / {right:.0%}"


def _findings(document: Record) -> Iterator[str]:
    """No more than the cells say."""
    cells = [
        each
        for each in document["cells"]
        if each.get("task") and each["status"] == "ok" and each["mode"] == "full"
    ]
    longest = max(each["length"] for each in cells)
    for task in ("induction", "key_value"):
        last = {
            each["method"]: each["value"]
            for each in cells
            if (each["task"], each["length"]) == (task, longest) and each["method"] in TOY_METHODS
        }
        kept = [method for method, value in last.items() if value >= RETRIEVED]
        lost = [method for method, value in last.items() if value < LOST]
        yield (
            f"**`{task}` at {longest:,}.** At least {RETRIEVED:.1%} of the answers are found under "
            f"{_named(kept)}; fewer than half under {_named(lost)}."
        )
    far = [each for each in cells if _apart(each)]
    if far:
        worst = max(far, key=lambda each: abs(_right(each) - each["value"]))
        yield (
            f"**Two scores, two answers:** in {len(far)} of {len(cells)} cells the two differ by "
            f"more than a fifth, most under `{worst['method']}` at {worst['length']:,} "
            f"(`{worst['task']}`: likeliest {worst['value']:.0%}, generated {_right(worst):.0%})."
        )


def _right(cell: Record) -> float:
    return float(cell["generation"]["right"] / cell["trials"])


def _apart(cell: Record) -> bool:
    return abs(_right(cell) - float(cell["value"])) > 0.2


def _named(methods: Sequence[str]) -> str:
    return ", ".join(f"`{each}`" for each in methods) or "no method"


def _frozen(document: Record) -> str:
    """One base for each row against keys frozen at birth, in two ways to feed a prompt."""
    tasks = ("induction", "key_value")
    lines = [
        (task, method, mode)
        for task in tasks
        for method in (PER_QUERY, AT_BIRTH)
        for mode in ("stream", "chunked:64")
    ]
    lengths = sorted({each["length"] for each in document["cells"] if each["mode"] == "stream"})
    rows = (
        [f"`{task}`, `{method}`, {mode}"]
        + [_both(_cell(document, task, method, mode, n)) for n in lengths]
        for task, method, mode in lines
    )
    return table(["task, policy, mode", *(f"{n:,}" for n in lengths)], rows)


def _real() -> str:
    document = result("retrieval-smollm2")
    lengths = sorted({each["length"] for each in document["cells"]})
    methods = dict.fromkeys(each["method"] for each in document["cells"])
    header = [
        "method",
        *(f"perplexity {n:,}" for n in lengths),
        *(f"needle {n:,}" for n in lengths),
        *(f"nats {n:,}" for n in lengths),
    ]
    rows = (
        [
            f"`{method}`",
            *(_perplexity(document, method, n) for n in lengths),
            *(_both(_cell(document, "needle", method, "full", n)) for n in lengths),
            *(_nats(_cell(document, "needle", method, "full", n)) for n in lengths),
        ]
        for method in methods
    )
    said = (
        "A needle: the answer is likeliest of the four / right when generated; nats: a token of "
        "the answer, teacher forced. With so few trials the nats tell more than the shares."
    )
    return f"{_setting(document)} {said}\n\n{table(header, rows)}"


def _nats(cell: Any) -> str:
    return "-" if cell is None else f"{cell['forced']['loss']:.2f}"


def _perplexity(document: Record, method: str, length: int) -> str:
    for each in document["cells"]:
        if "task" not in each and (each["method"], each["length"]) == (method, length):
            return "-" if each["ppl"] is None else perplexity_text(each["ppl"])
    return "-"
