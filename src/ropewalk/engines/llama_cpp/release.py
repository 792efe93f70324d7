"""llama.cpp 0c1e57098: angles computed in the kernel, from what the converter wrote.

Source: llama.cpp 0c1e57098, convert_hf_to_gguf.py, src/llama-context.cpp, src/llama-model.cpp
    (llama_model_rope_type), src/models/deepseek2.cpp.
"""

from dataclasses import replace

from ropewalk.configs.keys import ROPE_DICTS
from ropewalk.configs.text import rope_beside_section, with_text_keys
from ropewalk.core.geometry import Pairing
from ropewalk.core.lengths import Fixed
from ropewalk.engines.answer import LLAMA_CPP, EngineAnswer
from ropewalk.engines.llama_cpp.converter import as_converted
from ropewalk.engines.llama_cpp.kernel import FILES_OWN, Context
from ropewalk.engines.llama_cpp.rules import converted_rotation, has_baked_alpha, written_type
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

VERSION = "0c1e57098"
HUNYUAN_CONTEXT = 262_144
"""What the converter writes for Hunyuan's dense models, whatever the config states."""
CONTEXT_BLOCK = 256
"""n_ctx is rounded up to whole blocks."""
_NEIGHBOURING_PAIRS = frozenset(
    {"llama", "mistral", "mixtral", "internlm3", "ministral3", "deepseek_v2", "deepseek_v3"}
)


def llama_cpp(
    reading: Reading, settings: Context = FILES_OWN, *, overridden: bool = False
) -> EngineAnswer:
    """What llama.cpp computes after conversion, at ``-c served_length`` (default n_ctx_train).

    overridden  the reading is of the file's keys with flags over them, not of a config
    """
    answer = EngineAnswer(
        engine=LLAMA_CPP,
        version=VERSION,
        table_dtype="float32",
        choice="no table: angles computed in the kernel",
        pairing=_pairing(reading),
    )
    try:
        reading = reading if overridden else as_converted(as_merged(reading))
        rotation = converted_rotation(reading)
    except EngineRaises as raised:
        return replace(answer, error=str(raised))
    context = served_context(reading)
    magnitude = rotation.frequencies.attention_factor(context)
    rotation = replace(rotation, frequencies=settings.in_kernel(rotation.frequencies))
    return replace(
        answer.rotating(rotation, Fixed(length=context), context),
        softmax_scale_multiplier=_softmax_multiplier(reading, magnitude),
        max_length=HUNYUAN_CONTEXT if has_baked_alpha(reading) else reading.longest,
    )


def as_merged(reading: Reading) -> Reading:
    """The config as the converter merges it: a rope dict outside the text section counts where the
    section has none and no library completes it (conversion/base.py, load_hparams)."""
    outside = rope_beside_section(reading.shape.config)
    if not outside or reading.shape.completed:
        return reading
    shape = reading.shape
    merged = with_text_keys(shape.config, shape.text_section, {ROPE_DICTS[0]: outside})
    return Reading.of(shape.reread(merged), reading.served_length, reading.section.layer_type)


def served_context(reading: Reading) -> int:
    """n_ctx."""
    asked = reading.served_length or reading.longest
    return -(-asked // CONTEXT_BLOCK) * CONTEXT_BLOCK


def _softmax_multiplier(reading: Reading, attention_factor: float) -> float:
    """MLA: (A * m(s, mscale_all_dim))^2 (deepseek2.cpp, kq_scale)."""
    factor = reading.number("factor")
    if not reading.section.latent_attention or written_type(reading) != "yarn" or factor is None:
        return 1.0
    return (attention_factor * yarn_mscale(factor, reading.number("mscale_all_dim") or 0.0)) ** 2


def _pairing(reading: Reading) -> Pairing:
    """The converter permutes weights for architectures whose graph rotates neighbouring pairs."""
    return "interleaved" if reading.model_type in _NEIGHBOURING_PAIRS else reading.section.pairing
