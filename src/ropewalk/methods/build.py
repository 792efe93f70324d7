"""From a spec to an encoding in one call."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.spec import parse_spec, with_arguments


def encoding(spec: str, geometry: RopeGeometry, **parameters: object) -> Encoding:
    """The encoding that a spec describes over a checkpoint's geometry.

        encoding("yarn", geometry, factor=4) == encoding("yarn:factor=4", geometry)

    parameters  those of the method, where the spec has one part

    Raises RopewalkError for an unknown method or parameter, or values with which no encoding
    exists.
    """
    return with_arguments(parse_spec(spec), parameters).encoding(geometry)
