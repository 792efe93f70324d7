"""What was measured of each method, as far as results are committed.

Nats of loss above unscaled RoPE at the trained length, on the bundled demo model (trained length
256, English prose), at 1, 2, 4 and 8 times that length; methods with a factor at factor 8. A
small model and one text: orders and signs carry over better than sizes.

Source: docs/results; ``python -m recipes.measured`` makes the table of them that a wheel carries.
"""

import json
from collections.abc import Mapping
from typing import Any

from ropewalk.data import measured_methods


def measured() -> Mapping[str, dict[str, Any]]:
    """By method: ``nats_above_trained`` by multiples of the trained length, and ``source``."""
    return dict(json.loads(measured_methods().read_text("utf-8")))
