"""ENGINES: the one table of engine names; VERSIONS: the releases that were read."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.engines.answer import EngineRule
from ropewalk.engines.llama_cpp import release as llama_cpp
from ropewalk.engines.sglang import release as sglang
from ropewalk.engines.transformers import release as transformers
from ropewalk.engines.vllm import release as vllm

ENGINES: Mapping[str, EngineRule] = MappingProxyType(
    {
        "transformers": transformers.transformers_5_23,
        "vllm": vllm.vllm_0_33,
        "sglang": sglang.sglang_0_5_23,
        "llama.cpp": llama_cpp.llama_cpp,
    }
)
VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        "transformers": transformers.VERSION,
        "vllm": vllm.VERSION,
        "sglang": sglang.VERSION,
        "llama.cpp": llama_cpp.VERSION,
    }
)
