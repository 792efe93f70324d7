"""What a model knows of positions beside or instead of a rotation."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPositions:
    """A kind of position encoding in a model.

    kind         alibi, t5_bias, inkling, learned, sinusoidal, or the spec that it was trained with
    numbers      of its size, as configs name them
    limit        what limits the length
    last_length  tokens past which the model's own code does not run; None for none
    methods      of a spec that change it without training
    """

    kind: str
    numbers: tuple[tuple[str, int], ...] = ()
    limit: str
    last_length: int | None = None
    methods: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As ``inspect`` prints it."""
        return {
            "kind": self.kind,
            **dict(self.numbers),
            "limit": self.limit,
            "last_length": self.last_length,
            "methods": list(self.methods),
        }
