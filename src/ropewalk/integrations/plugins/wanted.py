"""Whether an engine was asked for our plug-in: the standard library alone, for those that were not.

Each engine loads every plug-in that is installed, unless a variable of its own names some. Ours
does nothing unless it is named there.
"""

import os

NAME = "ropewalk"
"""The name of each entry point, and the ``rope_type``."""


def wanted(variable: str) -> bool:
    """Whether an environment variable, names joined by commas, names us."""
    return NAME in [each.strip() for each in os.environ.get(variable, "").split(",")]
