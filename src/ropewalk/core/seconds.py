"""Seconds that a command may take."""

from ropewalk.core.errors import RopewalkError


def require_seconds(budget: float | None) -> None:
    """RopewalkError unless 0 < budget < infinity, or None for no end; NaN fails too."""
    if budget is not None and not 0 < budget < float("inf"):
        raise RopewalkError(
            f"budget {budget:g}: expected seconds above 0, and a finite number; leave it out for "
            "no end"
        )
