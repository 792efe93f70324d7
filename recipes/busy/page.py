"""How long the demo takes, for the README, and what a busy core costs, for docs/measuring.md."""

from collections.abc import Mapping
from typing import Any

from recipes.pages import README, ROOT, Blocks, result, table

WAITS = {
    "passive": "passively (the default)",
    "active": "`OMP_WAIT_POLICY=ACTIVE`",
    "one_thread": "passively, `OMP_NUM_THREADS=1`",
}


def blocks() -> Blocks:
    document = result("busy")
    alone, beside = _seconds(document["demo"])
    machine = f"{document['cores']} cores, {document['device']}, torch {document['torch']}"
    time = f"On {document['cores']} quiet cores it took {alone:.0f} seconds.\n"
    demo = (
        f"The demo took {alone:.0f} seconds on quiet cores and {beside:.0f} with a busy loop "
        f"beside it, {beside / alone:.1f} times as long ({machine}). Four of its cells, by how "
        "threads wait:\n\n"
    )
    rows = [
        (WAITS[name], *(f"{each:.1f}" for each in (quiet, busy)), f"{busy / quiet:.1f}")
        for name, (quiet, busy) in {
            name: _seconds(pair) for name, pair in document["few_cells"].items()
        }.items()
    ]
    header = ("threads wait", "seconds alone", "beside a busy loop", "ratio")
    measuring = demo + table(header, rows)
    return {ROOT / "docs" / "measuring.md": {"busy": measuring}, README: {"demo-time": time}}


def _seconds(pair: Mapping[str, Any]) -> tuple[float, float]:
    return pair["alone"]["seconds"], pair["beside_a_loop"]["seconds"]
