"""The longest context that an extension was asked for."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.lengths import Fixed
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.ntk_aware import NTKAware
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.positions.reach import ReachingMap


def reached_length(encoding: Encoding, own: Encoding, own_length: int) -> int | None:
    """Tokens that an encoding in place of a model's own was made for.

    own         the encoding that the config asks for
    own_length  tokens that the config admits

    That is the length of a fixed policy; the factor times the trained length; where a position
    map reads the rest, the context whose every distance stays below that; and the config's own
    length where the encoding is the config's. None where no length is named: the encoding follows
    the text, or reaches any length.
    """
    if encoding == own:
        return own_length
    if encoding.length_dependent and isinstance(encoding.length_policy, Fixed):
        return encoding.length_policy.length
    factor = _factor(encoding)
    if encoding.frequencies is None or (factor == 1.0 and encoding.length_dependent):
        return None
    stretched = round(factor * encoding.geometry.trained_length)
    if isinstance(encoding.position_map, ReachingMap):
        return encoding.position_map.reach(stretched)
    return stretched if stretched > encoding.geometry.trained_length else own_length


def _factor(encoding: Encoding) -> float:
    match encoding.frequencies:
        case Linear(factor=factor) | NTKAware(factor=factor) | NTKByParts(factor=factor):
            return float(factor)
        case _:
            return 1.0
