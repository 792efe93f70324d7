"""What tests ask of a config in one call."""

from typing import Any

from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import read_model
from ropewalk.core.encoding import Encoding
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.reading import Reading
from ropewalk.engines.table import ENGINES
from ropewalk.methods import from_config
from ropewalk.methods.inspection import inspect_model
from ropewalk.planning import kv_cache as planning


def read_rope_section(config: Any, layer_type: str | None = None) -> RopeSection:
    return read_model(config).rope(layer_type)


def encoding_from_config(config: Any, layer_type: str | None = None) -> Encoding:
    return from_config.native_encoding(read_rope_section(config, layer_type))


def softmax_scale(config: Any, layer_type: str | None = None) -> float:
    return from_config.softmax_scale(read_rope_section(config, layer_type))


def inspect_config(config: Any, **asked: Any) -> dict[str, Any]:
    return inspect_model(read_model(config), **asked)


def kv_cache(config: Any, length: Any, **asked: Any) -> dict[str, Any]:
    return planning.kv_cache(read_model(config), length, **asked)


def reading_of(config: Any, served_length: Any = None, layer_type: str | None = None) -> Reading:
    return Reading.of(read_model(config), served_length, layer_type)


def answer_of(
    engine: str, config: Any, served_length: Any = None, layer_type: str | None = None
) -> EngineAnswer:
    return ENGINES[engine](reading_of(config, served_length, layer_type))
