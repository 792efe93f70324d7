"""Put an encoding into a transformers model, once its layout is measured and proven."""

from torch import nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.extension import EXTENSION, Extension
from ropewalk.integrations.feeding import WHOLE, Feeding
from ropewalk.integrations.layout import measure_layout
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.rotary import EncodedRotary, UnrotatedRotary
from ropewalk.methods.by_layer import Encode, Native
from ropewalk.methods.stated_length import UNSTATED, StatedLength


def install(
    model: nn.Module,
    encode: Encode,
    native: Native,
    length: StatedLength = UNSTATED,
    feeding: Feeding = WHOLE,
) -> Extension:
    """Measure the layout, prove ``native`` against the model's own output, put the encoding in.

    feeding  how much of each pass is fed in this process

    Raises RopewalkError for a model that is extended already, a family whose layout is
    unknown or whose proof fails, and for what ``wanted_in`` refuses.
    """
    ours = (EncodedRotary, UnrotatedRotary)
    if any(hasattr(part, EXTENSION) or isinstance(part, ours) for part in model.modules()):
        raise RopewalkError("the model is extended already: call .remove() on its extension first")
    with at_rest(model):
        layout = measure_layout(model, native)
    return Extension(model, layout, encode, length, feeding)
