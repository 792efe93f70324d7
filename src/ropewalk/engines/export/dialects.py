"""DIALECTS: how each engine is told; and the keys that transformers, vLLM and SGLang read."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import BESIDE_SPEED, ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM, EngineAnswer
from ropewalk.engines.export.dialect import ConfigDialect, Dialect, longest_table
from ropewalk.engines.export.llama_cpp import LlamaCppDialect
from ropewalk.engines.export.request import ExportRequest
from ropewalk.engines.patch import ConfigPatch
from ropewalk.engines.reading import Reading
from ropewalk.engines.sglang.release import LENGTH_KEYS as SGLANG_LENGTH_KEYS
from ropewalk.engines.sglang.release import sglang_0_5_23
from ropewalk.engines.transformers.release import transformers_5_23
from ropewalk.engines.vllm.lengths import LENGTH_KEYS as VLLM_LENGTH_KEYS
from ropewalk.engines.vllm.release import vllm_0_33
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

_TAKE_STATED_LENGTH = ("linear", "dynamic")


def _transformers_rope(request: ExportRequest) -> dict[str, Any]:
    """``attention_factor`` stated where YaRN's own is not the one. Latent attention has the pair
    of mscales, from which the library computes both magnitudes, unless one of them is 0."""
    block, latent = request.block, request.latent_keys
    if latent and all(latent.values()):
        return request.rope_dict(latent)
    keys = {key: value for key, value in latent.items() if key == "mscale_all_dim"}
    if block.rope_type == "longrope":
        keys |= _listed_magnitudes(request)
    elif request.states_magnitude:
        keys["attention_factor"] = block.attention_factor
    return request.rope_dict(keys)


def _listed_magnitudes(request: ExportRequest) -> dict[str, Any]:
    """The attention factor of lists, in the keys of every engine that reads them."""
    keys = ("attention_factor", "short_mscale", "long_mscale")
    return dict.fromkeys(keys, request.block.attention_factor)


def _transformers_stated(request: ExportRequest) -> dict[str, float]:
    """``max_position_embeddings`` becomes the length asked for, but under ``linear`` and
    ``dynamic``, whose own rule and whose readers take it for the trained length."""
    block = request.block
    own = block.rope_type in _TAKE_STATED_LENGTH
    keys: dict[str, float] = {
        "max_position_embeddings": block.trained_length if own else request.length
    }
    if "rope_theta" in request.shape.text:
        keys["rope_theta"] = block.rope_theta  # for readers of the old place
    return keys


def _served_keys(request: ExportRequest, key: str, magnitude: float) -> dict[str, Any]:
    """Magnitudes as vLLM and SGLang read them; ``key`` and ``magnitude`` for plain YaRN, which
    MiniCPM 3's latent attention has in both."""
    if request.block.rope_type == "longrope":
        return _listed_magnitudes(request)
    as_deepseek = Reading.of(request.shape, None, request.section.layer_type).latent
    latent = request.latent_keys if as_deepseek else {}
    return {key: magnitude} if request.states_magnitude and not latent else latent


def _vllm_rope(request: ExportRequest) -> dict[str, Any]:
    """A rope dict in the override takes the place of the whole one."""
    magnitude = request.block.attention_factor
    return request.rope_dict(_served_keys(request, "attention_factor", magnitude))


def _vllm_admitted(answer: EngineAnswer, reading: Reading) -> int | None:
    """LongRoPE is served at L unless a length is asked for, and admits the stated one then."""
    return reading.longest if reading.section.rope_type == "longrope" else answer.max_length


def _sglang_rope(request: ExportRequest) -> dict[str, Any]:
    """``attn_factor`` multiplies YaRN's own magnitude. LongRoPE at one L is the short list of a
    table that holds every position. Keys of the old dict that would survive the merge become
    null."""
    block, old = request.block, request.section.written
    quotient = block.attention_factor / yarn_mscale(block.factor)
    keys = _served_keys(request, "attn_factor", quotient)
    if block.rope_type == "longrope":
        keys[ORIGINAL] = request.length
    rope = request.rope_dict(keys)
    stale = {*old} - {*rope} - {*BESIDE_SPEED, "type", "partial_rotary_factor"}
    old_type = {"type": rope["rope_type"]} if "type" in old else {}
    return {**rope, **old_type, **dict.fromkeys(sorted(stale))}


def _transformers_limits(request: ExportRequest) -> str:
    if "truncate" in request.block.parameters and not request.block.parameters["truncate"]:
        return "transformers reads truncate beside per-layer dicts only, so a nested one is lost"
    return "its config class may know other rope types only, or read keys of its own"


def _vllm_limits(request: ExportRequest) -> str:
    otherwise = (
        "the architecture may run through the Transformers backend or mrope, with their rules"
    )
    return _served_limits(request, "vLLM", otherwise)


def _sglang_limits(request: ExportRequest) -> str:
    otherwise = "the architecture may have no model in this release, or read keys of its own"
    return _served_limits(request, "SGLang", otherwise)


def _served_limits(request: ExportRequest, engine: str, otherwise: str) -> str:
    if request.section.latent_attention:
        return (
            f"{engine} forces YaRN on latent attention for any type but default, always rounds its "
            "cut-offs, and gives type default no mscale"
        )
    if request.block.rope_type == "proportional":
        return f"{engine} does not read the factor of proportional"
    return otherwise


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        TRANSFORMERS: ConfigDialect(
            rule=transformers_5_23,
            rope=_transformers_rope,
            stated=_transformers_stated,
            admitted=lambda answer, reading: None,
            known=_transformers_limits,
        ),
        VLLM: ConfigDialect(
            rule=vllm_0_33,
            command=("vllm", "serve", "MODEL"),
            overrides="--hf-overrides",
            length="--max-model-len",
            reserved=1,
            length_keys=VLLM_LENGTH_KEYS,
            rope=_vllm_rope,
            decides=lambda sequence, served: served,
            admitted=_vllm_admitted,
            positions=longest_table,
            known=_vllm_limits,
        ),
        SGLANG: ConfigDialect(
            rule=sglang_0_5_23,
            command=("python", "-m", "sglang.launch_server", "--model-path", "MODEL"),
            overrides="--json-model-override-args",
            length="--context-length",
            reserved=7,  # seen on 0.5.23
            length_keys=SGLANG_LENGTH_KEYS,
            rope=_sglang_rope,
            applied=ConfigPatch.merged,
            known=_sglang_limits,
        ),
        LLAMA_CPP: LlamaCppDialect(),
    }
)
