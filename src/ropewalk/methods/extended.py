"""What a method makes of a model that was trained with an encoding of its own.

Its learned terms, its input encoding and what it adds to scores stay; a layer that rotates gets the
method's rotation and map. One that does not keeps its own, but for ALiBi and T5's bias, which are
stretched as the method would stretch a rotation (``stretched_biases``). Scales of rows join both.
"""

from dataclasses import replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.stretched_biases import stretched


def extended(own: Encoding, asked: Encoding, name: str) -> Encoding:
    """The encoding of a layer trained with ``own`` under a method that gives ``asked``.

    Raises RopewalkError for a method with learned terms that the layer does not have, and for
    another rotation of waves that decay.
    """
    if asked == own:
        return own
    if asked.trained or asked.values_encoded:
        raise RopewalkError(
            f"{name} is trained with a model, and this one was trained with another encoding: "
            "expected native, or a method that needs no training"
        )
    mods = tuple(mod for mod in asked.score_mods if mod not in own.score_mods)
    scored = replace(own, score_mods=(*own.score_mods, *mods))
    if own.frequencies is None:
        return stretched(scored, asked)
    if own.tile_rows is not None and asked.frequencies != own.frequencies:
        raise RopewalkError(
            f"{name} on a model trained with xpos: no scaling of decaying waves is known; "
            "expected native"
        )
    return replace(
        scored,
        frequencies=asked.frequencies,
        length_policy=asked.length_policy,
        position_map=asked.position_map,
    )
