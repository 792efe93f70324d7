"""A task of another model beside a comparison: the columns behind those of the lengths.

The bundled demo model retrieves nothing, so a toy model is asked instead; its cells say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One task of one other model.

    cells  by mode, method and length, what a cell reads
    """

    model: str
    task: str
    trials: int
    cells: Mapping[tuple[str, str, int], str]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Beside | None":
        """The first such task of a document, or None."""
        records = [record for record in document["cells"] if "model" in record]
        if not records:
            return None
        first = records[0]
        own = [each for each in records if each["task"] == first["task"]]
        return cls(
            model=first["model"],
            task=first["task"],
            trials=max(each["trials"] or 0 for each in own),
            cells={(each["mode"], each["method"], each["length"]): _shown(each) for each in own},
        )

    def columns(self, mode: str) -> dict[int, str]:
        """Headers of a mode's lengths."""
        lengths = sorted({length for of, _, length in self.cells if of == mode})
        return {length: f"{self.task}\n{length:,}" for length in lengths}

    def caption(self) -> str:
        """What the columns are."""
        return (
            f"{self.task}: the answer is likelier than all others in the text, of {self.trials} "
            f"trials; measured on the bundled model {self.model}, since this one retrieves nothing."
        )


def _shown(record: Mapping[str, Any]) -> str:
    return f"{record['value']:.0%}" if record["status"] == "ok" else f"- ({record['status']})"
