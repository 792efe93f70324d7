"""All rules side by side, for docs/evidence.md."""

from recipes.pages import EVIDENCE, Blocks, Record, at, perplexity_of, result, table, where
from ropewalk.reporting.table import perplexity_text


def blocks() -> Blocks:
    return {EVIDENCE: {"protocols": page(result("protocols"))}}


def page(document: Record) -> str:
    """A row for each rule: perplexities of each method at each length."""
    rules = {name: rule["cells"] for name, rule in document["rules"].items()}
    columns = list(dict.fromkeys((c["method"], c["length"]) for c in next(iter(rules.values()))))
    header = ["rule", *(f"`{method}` {length:,}" for method, length in columns)]
    rows = [
        [f"`{name}`", *(perplexity_of(_full(cells, *column)) for column in columns)]
        for name, cells in rules.items()
    ]
    return (
        f"Perplexity of {document['model']} (trained length {document['trained_length']:,}; "
        f"{where(document)}) over the first "
        f"{document['documents']} chapters of the demo book, each a document.\n\n"
        f"{table(header, rows)}\n{_spread(rules, columns[-1])} {_ranking(rules, columns)}\n"
    )


def _spread(rules: dict[str, list[Record]], column: tuple[str, int]) -> str:
    """How far apart the rules are about one method at one length."""
    found = {
        name: cell["ppl"]
        for name, cells in rules.items()
        if (cell := _full(cells, *column)) and cell["ppl"] is not None
    }
    low, high = min(found, key=lambda n: found[n]), max(found, key=lambda n: found[n])
    method, length = column
    return (
        f"One model, one method (`{method}`), one length ({length:,}), {len(found)} rules: from "
        f"{perplexity_text(found[low])} (`{low}`) to {perplexity_text(found[high])} (`{high}`)."
    )


def _ranking(rules: dict[str, list[Record]], columns: list[tuple[str, int]]) -> str:
    """Which rules say that the last method beats the first at the longest length."""
    (first, _), (last, length) = columns[0], columns[-1]
    better: dict[bool, list[str]] = {True: [], False: []}
    for name, cells in rules.items():
        ours, theirs = _full(cells, last, length), _full(cells, first, length)
        if ours and theirs:
            better[ours["nll"] < theirs["nll"]].append(f"`{name}`")
    if not all(better.values()):
        return f"All of them rank `{first}` and `{last}` alike there."
    return (
        f"They do not even agree which method is better there: `{last}` by "
        f"{', '.join(better[True])}; `{first}` by {', '.join(better[False])}."
    )


def _full(cells: list[Record], method: str, length: int) -> Record | None:
    return at(cells, method, "full", length)
