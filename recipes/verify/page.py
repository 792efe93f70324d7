"""``ropewalk verify`` on a real model, for docs/verify.md.

    ropewalk verify SmolLM2-135M-Instruct.Q4_1.gguf --out runs/verify-smollm2 --json \\
        --method dynamic_ntk --method string --method inverse_leaky_rerope \\
        > docs/results/verify-smollm2.json
    python -m recipes.verify.shorten SmolLM2-135M-Instruct.Q4_1.gguf runs/smollm2-1024
    ropewalk verify runs/smollm2-1024 --out runs/verify-smollm2-1024 --json \\
        > docs/results/verify-smollm2-1024.json
"""

from collections.abc import Sequence
from itertools import groupby

from recipes.pages import ROOT, Blocks, Record, result, table

VERIFY = ROOT / "docs" / "verify.md"
MOST_SHARE = 100


def blocks() -> Blocks:
    names = ("verify-smollm2", "verify-smollm2-1024")
    return {VERIFY: {name: _page(result(name)) for name in names}}


def _page(document: Record) -> str:
    return f"{_setting(document)}\n\n{_table(document['records'])}"


def _setting(document: Record) -> str:
    methods = _by_method(document["records"])
    same = sum(all(each["status"] == "ok" for each in group) for group in methods)
    failed = sum(any(each["status"] == "failed" for each in group) for group in methods)
    return (
        f"Largest difference of a logit of {document['model']} (trained length "
        f"{document['trained_length']:,}) from one call alone, over {document['length']:,} tokens "
        f"({document['device']}, {document['dtype']}). Of {len(methods)} methods {same} give one "
        f"result however tokens are fed, {len(methods) - same - failed} differ as declared, and "
        f"{failed} break a promise."
    )


def _table(records: Sequence[Record]) -> str:
    checks = list(dict.fromkeys(each["check"] for each in records))
    rows = [
        [
            f"`{group[0]['method']}`",
            *(_figure(each["max_logit_difference"]) for each in group),
            _figure(group[0]["rounding"]),
            _share(group),
            next((each["status"] for each in group if each["status"] != "ok"), "ok"),
        ]
        for group in _by_method(records)
    ]
    return table(["method", *checks, "rounding", "share", "status"], rows)


def _by_method(records: Sequence[Record]) -> list[list[Record]]:
    return [list(group) for _, group in groupby(records, key=lambda each: each["method"])]


def _share(group: Sequence[Record]) -> str:
    share = max(each["max_logit_difference"] / each["tolerance"] for each in group)
    return f"{share:.0%}" if share < MOST_SHARE else f"over {MOST_SHARE:,.0%}"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if value else "0"
