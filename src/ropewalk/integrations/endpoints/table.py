"""ENDPOINTS: the one table of engines that can be asked, and which one a server is."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.endpoints.endpoint import Endpoint, Texts, models
from ropewalk.integrations.endpoints.llama_cpp import LlamaCpp
from ropewalk.integrations.endpoints.openai import OpenAICompatible
from ropewalk.integrations.endpoints.server import Server
from ropewalk.integrations.endpoints.sglang import SGLang
from ropewalk.integrations.endpoints.vllm import VLLM

Kind = Callable[..., Endpoint]
"""Makes an endpoint of the fields of one."""

ENDPOINTS: Mapping[str, Kind] = MappingProxyType(
    {each.engine: each for each in (VLLM, SGLang, LlamaCpp, OpenAICompatible)}
)
_OWNERS: Mapping[str, Kind] = MappingProxyType(
    {"vllm": VLLM, "sglang": SGLang, "llamacpp": LlamaCpp}
)
"""Whom ``/v1/models`` names as the owner of a model."""


def connect(server: Server, engine: str | None = None, texts: Texts | None = None) -> Endpoint:
    """The endpoint of a running server.

    engine  its name in ``ENDPOINTS``; None: found by who owns its models, else ``openai``
    texts   the model's tokenizer, where there is one

    Raises RopewalkError for an unknown engine, and a server that cannot be asked for its models.
    """
    if engine is not None and engine not in ENDPOINTS:
        near = get_close_matches(engine, ENDPOINTS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise RopewalkError(f"engine {engine:.40}: expected one of {', '.join(ENDPOINTS)}{hint}")
    facts = models(server)
    owner = str(facts.get("owned_by"))
    kind = ENDPOINTS[engine] if engine else _OWNERS.get(owner, OpenAICompatible)
    return kind(server=server, model=facts["id"], facts=facts, texts=texts)
