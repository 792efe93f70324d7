"""The bundled models and book: what stands in where none is given, and what can look tokens up."""

from pathlib import Path

_HERE = Path(__file__).parent


def demo_model() -> Path:
    """A transformers checkpoint: 7.5 M parameters, trained length 256 (see its README)."""
    return _HERE / "demo"


def toy_model() -> Path:
    """A transformers checkpoint that retrieves: 0.5 M parameters, trained length 256."""
    return _HERE / "toy"


def demo_book() -> Path:
    """Moby Dick, which the demo model never saw in training (see its README)."""
    return _HERE / "book" / "moby_dick.txt"


def measured_methods() -> Path:
    """What each method does to the demo model's loss, a table that ``recipes/measured`` writes."""
    return _HERE / "measured.json"
