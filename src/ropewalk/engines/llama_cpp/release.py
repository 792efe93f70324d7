"""llama.cpp 0c1e57098: what the converter writes, and what the graph makes of it.

Source: llama.cpp 0c1e57098, convert_hf_to_gguf.py (set_gguf_parameters, generate_extra_tensors),
    src/llama-context.cpp (rope scaling set-up), src/llama-model.cpp, src/models/deepseek2.cpp,
    ggml/src/ggml-cpu/ops.cpp (ggml_rope_yarn, ggml_rope_cache_init).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.geometry import Pairing
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.magnitudes import longrope_magnitude
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.turning import (
    Turning,
    answered,
    llama3_blend,
    longrope_lists,
    partly,
    stretched,
    unscaled,
)
from ropewalk.frequencies.checks import check_factor
from ropewalk.frequencies.ntk_by_parts import check_even
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

NAME, VERSION = "llama.cpp", "0c1e57098"
HUNYUAN_CONTEXT = 262_144
"""What the converter writes for Hunyuan's dense models, whatever the config states."""
CONTEXT_BLOCK = 256
"""n_ctx is rounded up to whole blocks."""
READS_BETAS = frozenset({"grok", "grok-1", "ministral3", "mistral3"})
READS_LOG_MULTIPLIER = frozenset({"ministral3", "mistral3", "mistral4"})
_NEIGHBOURING_PAIRS = frozenset(
    {"llama", "mistral", "mixtral", "internlm3", "ministral3", "deepseek_v2", "deepseek_v3"}
)
_NO_TABLE = "no table: angles computed in the kernel"


def llama_cpp(
    config: Mapping[str, Any], served_length: int | None, layer_type: str | None
) -> EngineAnswer:
    """What llama.cpp computes after conversion, at ``-c served_length`` (default n_ctx_train)."""
    reading = Reading.of(config, served_length, layer_type)
    frame = EngineAnswer(
        engine=NAME,
        version=VERSION,
        table_dtype="float32",
        choice=_NO_TABLE,
        pairing=_pairing(reading),
        keys_read=frozenset(),
    )
    try:
        _check_conversion(reading)
        turned = _RULES.get(_written(reading), _dropped)(reading)
    except EngineRaises as raised:
        return replace(frame, error=str(raised))
    return replace(
        answered(frame, replace(turned, inv_freq=_in_kernel(reading, turned.inv_freq))),
        softmax_scale_multiplier=_softmax_multiplier(reading, turned.attention_factor),
        max_length=HUNYUAN_CONTEXT if _has_baked_alpha(reading) else reading.longest,
    )


def served_context(reading: Reading) -> int:
    """n_ctx."""
    asked = reading.served_length or reading.longest
    return -(-asked // CONTEXT_BLOCK) * CONTEXT_BLOCK


def _dropped(reading: Reading) -> Turning:
    """Types the converter does not know, and every ``dynamic`` but Hunyuan's: no scaling."""
    return Turning(inv_freq=unscaled(reading), choice=_NO_TABLE)


def _linear(reading: Reading) -> Turning:
    factor = reading.number("factor")
    if factor is None:
        return _dropped(reading)
    check_factor(factor)
    return Turning(inv_freq=unscaled(reading) / factor, choice=_NO_TABLE, keys_read=("factor",))


def _dynamic(reading: Reading) -> Turning:
    """Hunyuan's alpha is baked into the base; any other dynamic is written as type none."""
    if not _has_baked_alpha(reading):
        return _dropped(reading)
    alpha = reading.required("alpha", "")
    return Turning(inv_freq=stretched(reading, alpha), choice=_NO_TABLE, keys_read=("alpha",))


def _yarn(reading: Reading) -> Turning:
    """Cut-offs always rounded; betas 32 and 1 but for the few architectures that read them.

    theta' = theta / s * (1 - mix) + theta * mix,  mix = 1 - clip((i - lo) / max(0.001, hi - lo))
    """
    factor = reading.number("factor")
    if factor is None:
        return _dropped(reading)
    check_factor(factor)
    fast, slow = 32.0, 1.0
    keys: tuple[str, ...] = ("factor", ORIGINAL)
    if reading.model_type in READS_BETAS:
        fast, slow = _stated(reading, "beta_fast", 32.0), _stated(reading, "beta_slow", 1.0)
        keys = (*keys, "beta_fast", "beta_slow")
    all_dim = reading.latent or reading.model_type in READS_LOG_MULTIPLIER
    theta, share = unscaled(reading), _ramp(reading, fast, slow)
    return Turning(
        inv_freq=theta * (1 - share) + theta / factor * share,
        attention_factor=_yarn_magnitude(reading, factor),
        choice=_NO_TABLE,
        keys_read=(*keys, "mscale_all_dim") if all_dim else keys,
    )


def _longrope(reading: Reading) -> Turning:
    """The long list where n_ctx of a slot exceeds n_ctx_orig, decided when the context is made.

    A is stored as rope.scaling.attn_factor = sqrt(1 + ln(M / L) / ln L); factor and
    attention_factor are not read.
    """
    short, long = longrope_lists(reading)
    return Turning(
        inv_freq=long if served_context(reading) > reading.original else short,
        inv_freq_short=short,
        inv_freq_long=long,
        attention_factor=longrope_magnitude(reading, reading.longest / reading.original),
        choice=f"the long list for a slot of more than {reading.original} tokens, decided when "
        "the context is made",
        keys_read=("short_factor", "long_factor", ORIGINAL),
    )


def _llama3(reading: Reading) -> Turning:
    """Baked into the tensor rope_freqs; absent keys are 8, 1, 4 and 8192 as in Llama 3.1."""
    factor = _stated(reading, "factor", 8.0)
    low, high = _stated(reading, "low_freq_factor", 1.0), _stated(reading, "high_freq_factor", 4.0)
    return Turning(
        inv_freq=llama3_blend(reading, factor, low, high),
        choice=_NO_TABLE,
        keys_read=("factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
    )


def _proportional(reading: Reading) -> Turning:
    """Gemma 4 alone has it, as rope_freqs; ``factor`` is not read. Elsewhere it is dropped."""
    if not reading.model_type.startswith("gemma4"):
        return _dropped(reading)
    return Turning(
        inv_freq=partly(reading, 1.0), choice=_NO_TABLE, keys_read=("partial_rotary_factor",)
    )


_RULES: Mapping[str, Callable[[Reading], Turning]] = MappingProxyType(
    {
        "linear": _linear,
        "dynamic": _dynamic,
        "yarn": _yarn,
        "longrope": _longrope,
        "llama3": _llama3,
        "proportional": _proportional,
    }
)


def _written(reading: Reading) -> str:
    return {"su": "longrope"}.get(reading.written_type, reading.written_type)


def _has_baked_alpha(reading: Reading) -> bool:
    hunyuan = reading.model_type.startswith("hunyuan")
    return hunyuan and reading.written_type == "dynamic" and bool(reading.number("alpha"))


def _check_conversion(reading: Reading) -> None:
    if reading.model_type == "gpt_neox" and "rotary_pct" not in reading.text:
        raise EngineRaises("KeyError: 'rotary_pct'")


def _yarn_magnitude(reading: Reading, factor: float) -> float:
    """m(s, 1), over m(s, mscale_all_dim) for Mistral 3; latent attention: 1.

    ``attention_factor``, ``attn_factor`` and ``mscale`` have no effect: the context overwrites
    the stored yarn_attn_factor. Latent attention without mscale_all_dim keeps m(s, 1).
    """
    all_dim = reading.number("mscale_all_dim")
    if reading.latent and all_dim is not None:
        return 1.0
    if reading.model_type in READS_LOG_MULTIPLIER and all_dim is not None:
        divisor = yarn_mscale(factor, all_dim)
        if divisor > 0:
            return yarn_mscale(factor) / divisor
    return yarn_mscale(factor)


def _softmax_multiplier(reading: Reading, attention_factor: float) -> float:
    """MLA: (A * m(s, mscale_all_dim))^2 (deepseek2.cpp, kq_scale)."""
    factor = reading.number("factor")
    if not reading.section.latent_attention or _written(reading) != "yarn" or factor is None:
        return 1.0
    return (attention_factor * yarn_mscale(factor, reading.number("mscale_all_dim") or 0.0)) ** 2


def _ramp(reading: Reading, beta_fast: float, beta_slow: float) -> Tensor:
    """Share of interpolation of each pair, with the kernel's own guard against a zero width."""
    geometry = reading.section.geometry()
    d = geometry.rotary_dim
    check_even(d)

    def index(beta: float) -> Tensor:
        turns = torch.tensor(beta, dtype=torch.float64) * 2 * math.pi
        return d * torch.log(reading.original / turns) / (2 * math.log(geometry.rope_theta))

    low, high = index(beta_fast).floor().clamp(min=0), index(beta_slow).ceil().clamp(max=d - 1)
    pairs = torch.arange(d // 2, dtype=torch.float64)
    return ((pairs - low) / (high - low).clamp(min=0.001)).clamp(0, 1)


def _in_kernel(reading: Reading, theta: Tensor) -> Tensor:
    """The kernel's rounding: each pair's theta is the one before times a float32 constant."""
    exact = _RULES["dynamic"](reading).inv_freq if _has_baked_alpha(reading) else unscaled(reading)
    step = exact[1:2].float().expand(len(exact) - 1)
    walked = torch.cumprod(torch.cat([torch.ones(1), step]), 0)
    return theta * (walked.double() / exact)


def _stated(reading: Reading, name: str, otherwise: float) -> float:
    value = reading.number(name)
    return otherwise if value is None else value


def _pairing(reading: Reading) -> Pairing:
    """The converter permutes weights for architectures whose graph turns neighbouring pairs.

    Source: llama.cpp 0c1e57098, llama_model_rope_type.
    """
    return "interleaved" if reading.model_type in _NEIGHBOURING_PAIRS else reading.section.pairing
