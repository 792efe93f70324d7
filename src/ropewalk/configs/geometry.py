"""RopeGeometry with the constructor that reads a config: the class is core's, the dialects ours.

``core`` may not know how configs are written, and users want one class. So the constructor is
declared there and given here, whenever this room is loaded.
"""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.shape import read_model
from ropewalk.core.geometry import RopeGeometry


def geometry_from_config(config: Mapping[str, Any]) -> RopeGeometry:
    """The geometry of a parsed config.json, in any dialect.

    Raises RopewalkError for a config without rope keys or with numbers that make no rotation.
    """
    return read_model(config).rope().geometry()


RopeGeometry.from_config = geometry_from_config

__all__ = ["RopeGeometry", "geometry_from_config"]
