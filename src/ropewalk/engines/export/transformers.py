"""transformers 5.23.0: keys of config.json.

Frequencies are computed on every call, so that nothing but the config decides. Lengths are
stated, not enforced: ``max_position_embeddings`` becomes the length asked for, except under
``linear`` and ``dynamic``, whose own rule and whose readers take it for the trained length.
"""

from collections.abc import Mapping
from typing import Any

from ropewalk.engines.export.magnitudes import default_magnitude, latent_keys
from ropewalk.engines.export.request import ExportRequest, ReadBack, Written
from ropewalk.engines.transformers.release import transformers_5_23

_TAKE_STATED_LENGTH = ("linear", "dynamic")


def write(request: ExportRequest) -> Written:
    """A whole rope dict; ``attention_factor`` stated where YaRN's own is not the one."""
    block = request.block
    keys: dict[str, Any] = {}
    if block.rope_type in ("yarn", "longrope"):
        stated = block.rope_type == "longrope" or not default_magnitude(request)
        keys = {"attention_factor": block.attention_factor} if stated else {}
    if "mscale_all_dim" in (latent := latent_keys(request)):
        keys["mscale_all_dim"] = latent["mscale_all_dim"]
    length = request.length
    if block.rope_type in _TAKE_STATED_LENGTH:
        length = block.trained_length
    others: dict[str, float] = {"max_position_embeddings": length}
    if "rope_theta" in request.text:
        others["rope_theta"] = block.rope_theta  # for readers of the old place
    return Written(patch=request.patch(request.rope_dict(keys), **others))


def read_back(
    written: Written, config: Mapping[str, Any], length: int, layer_type: str | None
) -> ReadBack:
    """Any length is admitted."""
    answer = transformers_5_23(written.patch.applied(config), length, layer_type)
    return ReadBack(answer=answer, admitted=None)


def limits(request: ExportRequest) -> str:
    """Where the library is known to ignore a key."""
    if "truncate" in request.block.parameters and not request.block.parameters["truncate"]:
        return "transformers reads truncate beside per-layer dicts only, so a nested one is lost"
    return "its config class may know other rope types only, or read keys of its own"
