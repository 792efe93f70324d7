"""Every family of the library put to the proof, for docs/families.md."""

from collections.abc import Iterable, Mapping

from recipes.families.uses import USES
from recipes.pages import ROOT, Blocks, Record, result

PAGE = ROOT / "docs" / "families.md"
HEAD = (
    "family",
    "pairs, channels",
    "seam",
    "layers",
    "native - stock",
    "own gap",
    "static",
    "length",
    "map",
)
NO_ROPE = ("no rope fields", "no layer turns")


def blocks() -> Blocks:
    document = result("families")
    tested, swept = document["tested"], document["swept"]
    unproven = of_result(swept, "unproven")
    parts = {
        "tested": table(tested),
        "uses": uses_table(tested),
        "swept": table(of_result(swept, "passes")),
        "unproven": f"{table(unproven)}\n{reasons(unproven)}",
        "refused": reasons(refused(swept)),
        "without": names(without_rope(swept)),
        "not-built": reasons(of_result(swept, "not built")),
        "versions": f"transformers {document['transformers']}, torch {document['torch']}\n",
    }
    return {PAGE: parts}


def of_result(records: Mapping[str, Record], result: str) -> dict[str, Record]:
    return {name: each for name, each in records.items() if each["result"] == result}


def without_rope(records: Mapping[str, Record]) -> dict[str, Record]:
    """Families with nothing to extend, by their config or by measurement."""
    refusals = of_result(records, "refused").items()
    return {n: each for n, each in refusals if any(word in each["reason"] for word in NO_ROPE)}


def refused(records: Mapping[str, Record]) -> dict[str, Record]:
    """Families that rotate, and that `extend` refuses."""
    bare = without_rope(records)
    return {n: each for n, each in of_result(records, "refused").items() if n not in bare}


def table(records: Mapping[str, Record]) -> str:
    rows = [cells(name, record) for name, record in records.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in (HEAD, ["---"] * len(HEAD), *rows))


def uses_table(records: Mapping[str, Record]) -> str:
    """What else was done to the tested families; those that were not asked are left out."""
    head = ("family", *USES)
    asked = {name: each["uses"] for name, each in records.items() if "uses" in each}
    if not asked:
        return "Not measured yet; `python -m recipes.families.run` measures it."
    rows = [[f"`{name}`", *(use(each[u]) for u in USES)] for name, each in asked.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def use(found: float | str | None) -> str:
    """A difference, or that there was a refusal or an error."""
    if found is None:
        return "not a number"
    return figure(found) if isinstance(found, float) else found.replace("|", "/")


def cells(name: str, record: Record) -> list[str]:
    """One row; a family that does not pass has its result in place of figures."""
    if "stock" not in record:
        return [f"`{name}`", record["result"], *[""] * (len(HEAD) - 2)]
    methods = record["methods"]
    return [
        f"`{name}`",
        f"{record['pairing']}, {record['rotary_channels']} from {record['first_channel']}",
        methods["static"].get("seam", ""),
        layers(record),
        figure(record["native_minus_stock"]),
        largest(record["stock"]),
        *(gap(methods[kind]) for kind in ("static", "length", "map")),
    ]


def layers(record: Record) -> str:
    """How many, and what is special about some."""
    special = {
        "without positions": record["without_positions"],
        "sliding": record["sliding"],
        "norm after rotation": record["layers"] * record["norm_after_rotation"],
        "both ways": record["layers"] * record["bidirectional"],
    }
    words = [f"{count} {word}" for word, count in special.items() if count]
    return ", ".join([str(record["layers"]), *words])


def gap(method: Record) -> str:
    return "refused" if "refused" in method else largest(method["gaps"])


def largest(gaps: Mapping[str, float | None]) -> str:
    """Over the ways of feeding; one whose logits are no numbers is left out and marked."""
    numbers = [each for each in gaps.values() if each is not None]
    mark = "" if len(numbers) == len(gaps) else " \\*"
    return figure(max(numbers)) + mark


def figure(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def reasons(records: Mapping[str, Record]) -> str:
    return "".join(f"- `{name}`: {each['reason']}\n" for name, each in records.items())


def names(records: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in records) + "\n"
