"""SGLang 0.5.23: ``--json-model-override-args`` and ``--context-length``.

An override is merged into the config's own rope dict, so that keys which the new type does not
have are set to null. ``attention_factor`` is not read: ``attn_factor`` multiplies YaRN's own.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import BESIDE_SPEED, ORIGINAL
from ropewalk.configs.shape import read_model
from ropewalk.engines.export.flags import patch_of, value_of
from ropewalk.engines.export.magnitudes import default_magnitude, latent_keys
from ropewalk.engines.export.request import (
    ConfigPatch,
    ExportRequest,
    ReadBack,
    Written,
)
from ropewalk.engines.export.served import ServedWriter
from ropewalk.engines.sglang.release import LENGTH_KEYS, sglang_0_5_23
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

OVERRIDES, LENGTH = "--json-model-override-args", "--context-length"


def write(request: ExportRequest) -> Written:
    """The block; LongRoPE at one L as the short list of a table that holds every position."""
    block = request.block
    keys: dict[str, Any] = latent_keys(request)
    if block.rope_type == "yarn" and not keys and not default_magnitude(request):
        keys["attn_factor"] = block.attention_factor / yarn_mscale(block.factor)
    if block.rope_type == "longrope":
        keys = dict.fromkeys(("short_mscale", "long_mscale"), block.attention_factor)
        keys[ORIGINAL] = request.length
    return _SERVED.write(request, _with_nulls(request, request.rope_dict(keys)))


def unchanged(request: ExportRequest) -> Written:
    """The config's own rope dict, and a length."""
    return _SERVED.write(request, None)


def _with_nulls(request: ExportRequest, rope: dict[str, Any]) -> dict[str, Any]:
    """Keys of the old dict that would survive the merge, set to null; ``type`` brought in line."""
    stale = {*request.old_rope} - {*rope} - {*BESIDE_SPEED, "type", "partial_rotary_factor"}
    old_type = {"type": rope["rope_type"]} if "type" in request.old_rope else {}
    return {**rope, **old_type, **dict.fromkeys(sorted(stale))}


def read_back(
    written: Written, config: Mapping[str, Any], length: int, layer_type: str | None
) -> ReadBack:
    """The override merged into the config, as SGLang merges it, at a batch of ``length``."""
    patch = patch_of(value_of(written.flags, OVERRIDES), written.patch)
    answer = sglang_0_5_23(merged(patch, config), length, layer_type)
    return ReadBack(answer=answer, admitted=answer.max_length)


def merged(patch: ConfigPatch, config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` under the override: a flat rope dict is merged key by key.

    Source: SGLang 0.5.23, srt/utils/hf_transformers (issue 27974).
    """
    rope = patch.keys.get("rope_parameters")
    old = read_model(config).rope()
    if rope is None or old.nested or any(isinstance(v, Mapping) for v in rope.values()):
        return patch.applied(config)
    keys = {**patch.keys, "rope_parameters": {**old.written, **rope}}
    return replace(patch, keys=MappingProxyType(keys)).applied(config)


_SERVED = ServedWriter(
    overrides=OVERRIDES, length=LENGTH, length_keys=LENGTH_KEYS, read_back=read_back
)


def limits(request: ExportRequest) -> str:
    """What the classes of this release do not read."""
    if request.section.latent_attention:
        return (
            "SGLang forces YaRN on latent attention for any type but default, always rounds its "
            "cut-offs, and gives type default no mscale"
        )
    if request.block.rope_type == "proportional":
        return "SGLang does not read the factor of proportional"
    return "the architecture may have no model in this release, or read keys of its own"
