"""ENGINES: the one table of engine names."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.engines.answer import EngineRule
from ropewalk.engines.llama_cpp.release import llama_cpp
from ropewalk.engines.sglang.release import sglang_0_5_23
from ropewalk.engines.transformers.release import transformers_5_23
from ropewalk.engines.vllm.release import vllm_0_33

ENGINES: Mapping[str, EngineRule] = MappingProxyType(
    {
        "transformers": transformers_5_23,
        "vllm": vllm_0_33,
        "sglang": sglang_0_5_23,
        "llama.cpp": llama_cpp,
    }
)
