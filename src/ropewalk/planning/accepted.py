"""Which methods ``extend`` refuses for a model, as far as a config tells.

What it measures of a live model no config tells; these are the rules that need no model.
"""

from ropewalk.configs import families
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding


def refusal(shape: ModelShape, encoding: Encoding) -> str | None:
    """Why ``extend`` refuses the encoding, None where nothing speaks against it."""
    family = shape.model_type
    if family in families.NOT_EXTENDED:
        return f"extend does not take {family}: its code has an attention of its own"
    if family in families.BOTH_WAYS and len(encoding.position_map.regions) > 1:
        return (
            f"{family} is bidirectional, and a map of {len(encoding.position_map.regions)} regions "
            "says nothing of keys that come after their query"
        )
    return None
