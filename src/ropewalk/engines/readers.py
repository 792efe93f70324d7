"""READERS: who else reads a config, beside the four engines of ``ENGINES``.

They have answers of the same form and kinds of findings of their own; nothing is exported for them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.engines.answer import EngineRule
from ropewalk.engines.mlx_lm import release as mlx_lm
from ropewalk.engines.ollama import release as ollama

READERS: Mapping[str, EngineRule] = MappingProxyType(
    {ollama.NAME: ollama.ollama, mlx_lm.NAME: mlx_lm.mlx_lm}
)
READER_VERSIONS: Mapping[str, str] = MappingProxyType(
    {ollama.NAME: ollama.VERSION, mlx_lm.NAME: mlx_lm.VERSION}
)
