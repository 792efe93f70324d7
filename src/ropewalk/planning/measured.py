"""What was measured of each method, as far as results are committed.

Nats of loss above unscaled RoPE at the trained length, on the bundled demo model (trained length
256, English prose), at 1, 2, 4 and 8 times that length; methods with a factor at factor 8. A
small model and one text: orders and signs carry over better than sizes.

Source: docs/results/demo.json, which ``ropewalk compare`` wrote.
"""

from collections.abc import Mapping
from types import MappingProxyType

SOURCE = "docs/results/demo.json: demo model, trained length 256, factor 8, 512 tokens a cell"
MULTIPLES = (1, 2, 4, 8)
NATS_ABOVE_TRAINED: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "none": (0.0, 0.468, 0.684, 1.004),
        "linear": (1.133, 1.086, 1.070, 1.067),
        "ntk_aware": (0.225, 0.226, 0.387, 0.864),
        "dynamic_ntk": (0.0, 0.164, 0.449, 0.792),
        "ntk_by_parts": (0.295, 0.293, 0.301, 0.321),
        "yarn": (0.307, 0.281, 0.282, 0.291),
        "dynamic_yarn": (0.0, 0.197, 0.241, 0.288),
        "llama3": (0.193, 0.181, 0.179, 0.194),
    }
)


def measured(method: str) -> dict[str, object] | None:
    """The figures of one method, None where none are committed."""
    if method not in NATS_ABOVE_TRAINED:
        return None
    nats = dict(zip(map(str, MULTIPLES), NATS_ABOVE_TRAINED[method], strict=True))
    return {"nats_above_trained": nats, "source": SOURCE}
