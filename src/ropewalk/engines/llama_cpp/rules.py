"""llama.cpp 0c1e57098: what the converter writes, and what the graph makes of it.

Source: llama.cpp 0c1e57098, convert_hf_to_gguf.py (set_gguf_parameters, generate_extra_tensors),
    src/llama-context.cpp (rope scaling set-up), src/llama-model.cpp.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.engines.answer import Rotation
from ropewalk.engines.llama_cpp.converter import STORES_LIST_LENGTH, WRITES_LISTS
from ropewalk.engines.llama_cpp.kernel import kernel_ramp
from ropewalk.engines.reading import Reading
from ropewalk.engines.rows import (
    LinearRow,
    Llama3Row,
    LongRopeRow,
    ProportionalRow,
    Rule,
    UnscaledRow,
    YarnRow,
    stretched,
)
from ropewalk.engines.stated import ROUNDED, Read, Stated, always, optional, required
from ropewalk.frequencies.longrope import longrope_attention_factor
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

READS_BETAS = frozenset({"grok", "grok-1", "ministral3", "mistral3"})
READS_LOG_MULTIPLIER = frozenset({"ministral3", "mistral3", "mistral4"})
_FACTOR = required("factor", "")


def converted_rotation(reading: Reading) -> Rotation:
    """The rotation of a file converted from what ``as_converted`` makes of a config.

    Types that the converter does not know, every ``dynamic`` but Hunyuan's, ``linear`` and
    ``yarn`` without a factor, and ``longrope`` whose lists are not written are dropped: nothing is
    scaled.
    """
    return _RULES.get(written_type(reading), UnscaledRow())(reading)


def written_type(reading: Reading) -> str:
    return {"su": "longrope"}.get(reading.written_type, reading.written_type)


def has_baked_alpha(reading: Reading) -> bool:
    """Whether the converter bakes Hunyuan's alpha into the base."""
    hunyuan = reading.model_type.startswith("hunyuan")
    return hunyuan and reading.written_type == "dynamic" and bool(reading.number("alpha"))


def _scaled(row: Rule) -> Rule:
    """A type that is dropped where it has no factor."""

    def rule(reading: Reading) -> Rotation:
        return (UnscaledRow() if reading.number("factor") is None else row)(reading)

    return rule


def _listed(row: Rule) -> Rule:
    """LongRoPE, dropped where the converter writes no lists."""

    def rule(reading: Reading) -> Rotation:
        return (row if reading.model_type in WRITES_LISTS else UnscaledRow())(reading)

    return rule


def _dynamic(reading: Reading) -> Rotation:
    if not has_baked_alpha(reading):
        return UnscaledRow()(reading)
    return stretched(reading, optional("alpha", 1.0)(reading))


def _beta(key: str, default: float) -> Read:
    """32 and 1 but for the few architectures that read them."""

    def read(reading: Reading) -> Stated:
        reads = reading.model_type in READS_BETAS
        return optional(key, default)(reading) if reads else Stated(default)

    return read


def _yarn_magnitude(reading: Reading, factor: float) -> Stated:
    """m(s, 1), over m(s, mscale_all_dim) for Mistral 3; latent attention: 1.

    ``attention_factor``, ``attn_factor`` and ``mscale`` have no effect: the context overwrites
    the stored yarn_attn_factor. Latent attention without mscale_all_dim, or with 0 for it, keeps
    m(s, 1).
    """
    all_dim = reading.number("mscale_all_dim")
    divides = reading.model_type in READS_LOG_MULTIPLIER
    keys = ("mscale_all_dim",) if reading.latent or divides else ()
    if reading.latent and all_dim:
        return Stated(1.0, keys)
    if divides and all_dim is not None and (divisor := yarn_mscale(factor, all_dim)) > 0:
        return Stated(yarn_mscale(factor) / divisor, keys)
    return Stated(yarn_mscale(factor), keys)


def _longrope_magnitudes(reading: Reading) -> tuple[Stated, Stated]:
    """Stored as rope.scaling.attn_factor = sqrt(1 + ln(M / L) / ln L), by Phi's classes alone;
    factor and attention_factor are not read."""
    if reading.model_type not in STORES_LIST_LENGTH:
        return Stated(1.0), Stated(1.0)
    ratio = reading.longest / reading.original
    both = Stated(longrope_attention_factor(ratio, reading.original))
    return both, both


def _proportional(reading: Reading) -> Rotation:
    """Gemma 4 alone has it, as rope_freqs; ``factor`` is not read. Elsewhere it is dropped."""
    gemma = reading.model_type.startswith("gemma4")
    return (ProportionalRow(factor=always(1.0)) if gemma else UnscaledRow())(reading)


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "linear": _scaled(LinearRow(factor=_FACTOR)),
        "dynamic": _dynamic,
        "yarn": _scaled(
            YarnRow(
                factor=_FACTOR,
                beta_fast=_beta("beta_fast", 32.0),
                beta_slow=_beta("beta_slow", 1.0),
                truncate=ROUNDED,
                ramp=kernel_ramp,
                magnitude=_yarn_magnitude,
            )
        ),
        "longrope": _listed(
            LongRopeRow(
                magnitudes=_longrope_magnitudes,
                choice="the long list for a slot of more than {original} tokens, decided when the "
                "context is made",
            )
        ),
        # Baked into the tensor rope_freqs; absent keys are those of Llama 3.1.
        "llama3": Llama3Row(
            factor=optional("factor", 8.0),
            low_freq_factor=optional("low_freq_factor", 1.0),
            high_freq_factor=optional("high_freq_factor", 4.0),
        ),
        "proportional": _proportional,
    }
)
