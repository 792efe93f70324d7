"""vLLM 0.33.0: ``--hf-overrides`` and ``--max-model-len``.

A rope dict in the override takes the place of the whole one, so that it is written whole. The
length admitted is derived from ``max_position_embeddings``, times the factor for ``linear`` and
``proportional`` and without it for YaRN, Llama 3 and LongRoPE (since pull request 56446).
"""

from collections.abc import Mapping
from typing import Any

from ropewalk.engines.answer import TwoTables
from ropewalk.engines.export.flags import patch_of, value_of
from ropewalk.engines.export.magnitudes import default_magnitude, latent_keys
from ropewalk.engines.export.request import (
    ExportRequest,
    ReadBack,
    Written,
)
from ropewalk.engines.export.served import ServedWriter
from ropewalk.engines.reading import Reading
from ropewalk.engines.vllm.lengths import LENGTH_KEYS
from ropewalk.engines.vllm.release import vllm_0_33

OVERRIDES, LENGTH = "--hf-overrides", "--max-model-len"


def write(request: ExportRequest) -> Written:
    """The block; magnitudes in the keys that vLLM reads for each type."""
    block = request.block
    latent = latent_keys(request)
    keys: dict[str, Any] = dict(latent)
    if block.rope_type == "yarn" and not latent and not default_magnitude(request):
        keys["attention_factor"] = block.attention_factor
    if block.rope_type == "longrope":
        keys = dict.fromkeys(("short_mscale", "long_mscale"), block.attention_factor)
    return _SERVED.write(request, request.rope_dict(keys))


def unchanged(request: ExportRequest) -> Written:
    """The config's own rope dict, and a length."""
    return _SERVED.write(request, None)


def read_back(
    written: Written, config: Mapping[str, Any], length: int, layer_type: str | None
) -> ReadBack:
    """LongRoPE is served at L unless a length is asked for, and admits the stated one then."""
    patched = patch_of(value_of(written.flags, OVERRIDES), written.patch).applied(config)
    answer = vllm_0_33(patched, int(value_of(written.flags, LENGTH) or length), layer_type)
    reading = Reading.of(patched, length, layer_type)
    is_longrope = reading.section.rope_type == "longrope"
    rows = answer.table_rows
    return ReadBack(
        answer=answer,
        admitted=reading.longest if is_longrope else answer.max_length,
        positions=max(rows.short, rows.long) if isinstance(rows, TwoTables) else rows,
    )


_SERVED = ServedWriter(
    overrides=OVERRIDES, length=LENGTH, length_keys=LENGTH_KEYS, read_back=read_back
)


def limits(request: ExportRequest) -> str:
    """What the classes of this release do not read."""
    if request.section.latent_attention:
        return (
            "vLLM forces YaRN on latent attention for any type but default, always rounds its "
            "cut-offs, and gives type default no mscale"
        )
    if request.block.rope_type == "proportional":
        return "vLLM does not read the factor of proportional"
    return "the architecture may run through the Transformers backend or mrope, with their rules"
