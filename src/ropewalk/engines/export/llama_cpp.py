"""llama.cpp 0c1e57098: flags over a checkpoint that was converted from the config as it is.

The attention factor has one working way, ``--override-kv ARCH.rope.scaling.attn_factor``, which
multiplies what the context computes. A slot is capped at n_ctx_train, which YaRN's flags raise
to L0 * s and nothing else but ``--override-kv ARCH.context_length``.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.configs.gguf_names import gguf_architecture
from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.dialect import Dialect, Directions, ReadBack
from ropewalk.engines.export.request import ExportRequest
from ropewalk.engines.llama_cpp.converter import drops_base
from ropewalk.engines.llama_cpp.flags import (
    DEFAULT_BETAS,
    FlaggedAnswer,
    is_baked,
    llama_cpp_with_flags,
)
from ropewalk.engines.reading import Reading

_FLAG_TYPES = ("default", "linear", "yarn")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppDialect(Dialect):
    """Type, scale, base and cut-offs; then what the context would compute otherwise."""

    command: tuple[str, ...] = ("llama-server", "-m", "MODEL.gguf")
    length: str | None = "-c"
    reserved: int = 1
    tolerance: ClassVar[float] = 1e-5
    """The kernel multiplies a float32 constant from pair to pair, by itself up to 8e-6."""

    def write(self, request: ExportRequest) -> Directions:
        block = request.block
        if block.rope_type not in _FLAG_TYPES:
            raise RopewalkError(
                f"no flag says {block.rope_type}; nearest: yarn; a new .gguf file that says it "
                "(--out NEW.gguf over a .gguf); or convert from a config.json with the rope block "
                "of --engine transformers, where the converter knows it for the architecture"
            )
        return _completed(request, (*_scaling(request), *_latent(request)))

    def unchanged(self, request: ExportRequest) -> Directions:
        return _completed(request, ())

    def read_back(self, directions: Directions, request: ExportRequest, length: int) -> ReadBack:
        back = _flagged(request, directions.flags, length)
        return ReadBack(answer=back.answer, admitted=back.trained_context)

    def has_lists(self, request: ExportRequest) -> bool:
        return is_baked(Reading.of(request.shape, None, request.section.layer_type))

    def limits(self, request: ExportRequest) -> str:
        reading = Reading.of(request.shape, request.length, request.section.layer_type)
        if request.section.rope_type == "longrope" and not is_baked(reading):
            return (
                f"the converter writes LongRoPE's lists for Phi-3 and MiniCPM alone, and a file of "
                f"{reading.model_type} has none"
            )
        if is_baked(reading):
            return f"{request.section.rope_type} is baked into the file at conversion"
        if request.block.parameters.get("truncate") is False:
            return "llama.cpp always rounds YaRN's cut-offs; nearest: truncate=true"
        if ORIGINAL in request.block.parameters and request.section.latent_attention:
            return "llama.cpp makes the attention factor of latent attention 1"
        return "the file's own keys may decide"


def _scaling(request: ExportRequest) -> tuple[str, ...]:
    block, old = request.block, request.section
    written = not drops_base(Reading.of(request.shape, None, old.layer_type))
    same_base = written and block.rope_theta == old.rope_theta
    base = () if same_base else ("--rope-freq-base", _text(block.rope_theta))
    if block.rope_type == "default":
        return (*(() if old.rope_type == "default" else ("--rope-scaling", "none")), *base)
    scale = ("--rope-scaling", block.rope_type, "--rope-scale", _text(block.factor))
    if block.rope_type == "linear":
        return (*scale, *base)
    return (*scale, "--yarn-orig-ctx", str(block.trained_length), *_betas(request), *base)


def _betas(request: ExportRequest) -> tuple[str, ...]:
    """Cut-offs that are not the default, or that stand in the file."""
    words: list[str] = []
    for key, default in zip(("beta_fast", "beta_slow"), DEFAULT_BETAS, strict=True):
        value = request.block.parameters[key]
        if value != default or key in request.section.written:
            words += [f"--yarn-{key.replace('_', '-')}", _text(value)]
    return tuple(words)


def _latent(request: ExportRequest) -> tuple[str, ...]:
    """The log multiplier, where the new factor needs another one for the same softmax scale."""
    all_dim = request.latent_keys.get("mscale_all_dim")
    stated = request.section.number("mscale_all_dim")
    if request.block.rope_type != "yarn" or not all_dim:
        return ()
    if stated is not None and math.isclose(all_dim, stated, rel_tol=1e-12):
        return ()
    return _override(request, "rope.scaling.yarn_log_multiplier", "float", _text(0.1 * all_dim))


def _completed(request: ExportRequest, flags: tuple[str, ...]) -> Directions:
    """With the attention factor corrected, n_ctx_train raised and the length asked for."""
    length, wanted = request.length, request.block.attention_factor
    back = _flagged(request, flags, length)
    found = back.answer.attention_factor
    latent = request.section.latent_attention  # its softmax scale would be multiplied too
    if found and not latent and not math.isclose(found, wanted, rel_tol=1e-7):
        word = _text(wanted / found)
        flags = (*flags, *_override(request, "rope.scaling.attn_factor", "float", word))
    if back.trained_context < length:
        flags = (*flags, *_override(request, "context_length", "int", str(length)))
    return Directions(patch=request.patch(None), flags=(*flags, "-c", str(length)))


def _flagged(request: ExportRequest, flags: tuple[str, ...], length: int) -> FlaggedAnswer:
    reading = Reading.of(request.shape, length, request.section.layer_type)
    return llama_cpp_with_flags(reading, flags)


def _override(request: ExportRequest, key: str, kind: str, value: str) -> tuple[str, ...]:
    name = gguf_architecture(request.section.model_type)
    return ("--override-kv", f"{name}.{key}={kind}:{value}")


def _text(value: float) -> str:
    """The shortest decimal that reads back as the same number."""
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
