"""Where tests find what they are held against."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDENS = ROOT / "tests" / "goldens"
RESULTS = ROOT / "docs" / "results"
