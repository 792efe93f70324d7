"""Which keys each file of mlx_lm/models reads.

A file takes keys from the section that holds its text model, and a key that it does not name
changes nothing: most take ``rope_theta`` beside the rope dict alone, many take no rope dict.

Source: MLX-LM 0.32.2, mlx_lm/models/*.py (ModelArgs and the attention of each), mlx_lm/utils.py
    (MODEL_REMAPPING).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import FULL, HIDDEN, SLIDING
from ropewalk.configs.numbers import first
from ropewalk.engines.mlx_lm import rules
from ropewalk.engines.mlx_lm.keys import (
    PARAMETERS,
    SCALING,
    Base,
    Channels,
    Dict,
    Keys,
    beside,
    dict_of,
    either,
    inner,
    inside,
    no_dict,
    of_layers,
    of_qwen3,
    parameters,
    scaling,
    share,
    share_of_layers,
    share_within,
    stated,
    whole,
    within,
)
from ropewalk.engines.reading import EngineRaises


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """How one file reads a config.

    base      rope_theta
    rope      the dict that it reads
    channels  of a head that turn
    make      what it makes of the dict
    needs     keys that must be there, whatever stands in them
    sliding   the same for layers with a window, where they differ
    """

    base: Base
    rope: Dict = scaling
    channels: Channels = whole
    make: rules.Make = rules.initialize_rope
    needs: tuple[str, ...] = ()
    sliding: "File | None" = None

    def of_layers(self, layer_type: str | None) -> "File":
        """The file as layers of one type have it."""
        return self.sliding if layer_type == SLIDING and self.sliding is not None else self


def _plain(default: float | None = None, **more: Any) -> File:
    return File(base=beside(default), rope=no_dict, **more)


def _scaled(default: float | None = None, **more: Any) -> File:
    return File(base=beside(default), **more)


def _of_layers(layer_type: str, channels: Channels, sliding: File | None = None) -> File:
    """The dict of one layer type, within ``rope_parameters``."""
    return File(
        base=of_layers(layer_type, 1e4),
        rope=dict_of(layer_type),
        channels=channels,
        sliding=sliding,
    )


def _nested(channels: Callable[[str], Channels] = lambda layer_type: whole) -> File:
    return _of_layers(FULL, channels(FULL), _of_layers(SLIDING, channels(SLIDING)))


_PARTIAL = share("partial_rotary_factor")
_LOCAL = "rope_local_base_freq"
_SCALED_REQUIRED = (
    *("apertus", "dots1", "exaone", "granite", "granitemoe", "longcat_flash", "telechat3"),
)
_SCALED_TEN_THOUSAND = (
    *("afmoe", "bitnet", "deepseek_v3", "deepseek_v32", "llama", "mimo", "nanbeige", "olmo2"),
    *("olmoe", "seed_oss"),
)
_PLAIN_REQUIRED = ("baichuan_m1", "ernie4_5", "ernie4_5_moe", "helium", "Klear", "llama4_text")
_PLAIN_TEN_THOUSAND = ("gemma", "gemma2", "glm", "olmo")

FILES: Mapping[str, File] = MappingProxyType(
    {
        **dict.fromkeys(_SCALED_REQUIRED, _scaled()),
        **dict.fromkeys(_SCALED_TEN_THOUSAND, _scaled(1e4)),
        **dict.fromkeys(_PLAIN_REQUIRED, _plain()),
        **dict.fromkeys(_PLAIN_TEN_THOUSAND, _plain(1e4)),
        **dict.fromkeys(("lfm2", "lfm2_moe"), File(base=inside(1e6), rope=no_dict)),
        "gemma4_text": _nested(),
        "laguna": _nested(share_of_layers),
        **dict.fromkeys(("granitemoehybrid", "olmo_hybrid"), File(base=inside(1e4), rope=no_dict)),
        **dict.fromkeys(("hunyuan", "hunyuan_v1_dense"), _scaled(1e4, make=rules.hunyuan)),
        "cohere": _plain(8e6),
        "cohere2": _plain(5e4),
        "deepseek": _scaled(1e4, make=rules.linear_alone),
        "deepseek_v2": _scaled(1e4, make=rules.deepseek_v2),
        "exaone4": _scaled(needs=(SCALING,)),
        "exaone_moe": File(base=inside(1e6)),
        "falcon_h1": _scaled(1e11),
        "gemma3_text": _scaled(1e6, sliding=File(base=beside(1e4, _LOCAL), rope=no_dict)),
        "gemma3n": _plain(sliding=File(base=beside(name=_LOCAL), rope=no_dict)),
        "glm4": _plain(channels=_PARTIAL),
        "glm4_moe": _plain(channels=_PARTIAL, needs=(SCALING,)),
        "glm4_moe_lite": _scaled(1e6),
        "glm_moe_dsa": File(base=inside(), rope=parameters, needs=(PARAMETERS,)),
        "gpt_neox": File(
            base=beside(name="rotary_emb_base"), rope=no_dict, channels=share("rotary_pct")
        ),
        "gpt_oss": _scaled(150_000.0),
        "gptj": File(base=lambda keys: 1e4, rope=no_dict, channels=stated("rotary_dim", 64)),
        "internlm2": _scaled(1e4, make=rules.checked("type", "linear", "dynamic")),
        "internlm3": _scaled(1e4, make=rules.checked("rope_type", "linear", "dynamic")),
        "llama4": _scaled(needs=(SCALING,)),
        "mimo_v2_flash": _plain(
            channels=_PARTIAL,
            sliding=File(base=beside(name="swa_rope_theta"), rope=no_dict, channels=_PARTIAL),
        ),
        "minicpm": _scaled(1e6),
        "minicpm3": _scaled(1e6, make=rules.minicpm3),
        "minimax": _plain(channels=stated("rotary_dim")),
        "ministral3": File(base=inside(), rope=parameters, needs=(PARAMETERS,)),
        "mistral4": File(base=inside(1e4), rope=parameters),
        "mixtral": _plain(1e6),
        "nemotron": _scaled(
            1e4, channels=share("partial_rotary_factor", 0.5), make=rules.checked("type", "linear")
        ),
        "nemotron-nas": _scaled(5e5),
        "olmo3": _scaled(sliding=_plain()),
        "phi": _plain(1e4, channels=share("partial_rotary_factor", 0.4)),
        "phi3": _scaled(1e4, channels=share("partial_rotary_factor", 1.0), make=rules.phi3),
        "phi3small": File(base=beside(1e6, "rope_embedding_base"), rope=no_dict),
        "phimoe": _scaled(1e4, make=rules.phimoe),
        "qwen2": _scaled(1e6),
        "qwen2_moe": _scaled(1e6, make=rules.checked("type", "linear", then=rules.unscaled)),
        "qwen3": File(base=of_qwen3, rope=either),
        "qwen3_5": File(base=within(1e5), rope=parameters, channels=share_within(0.25)),
        "qwen3_moe": _plain(),
        "qwen3_next": _scaled(channels=_PARTIAL),
        "stablelm": _plain(channels=_PARTIAL),
        "starcoder2": _plain(1e5),
        "youtu_llm": _scaled(1.6e6),
    }
)
"""Files of text models."""

NOT_READ = frozenset(
    {"afm7", "bailing_hybrid", "bailing_moe", "bailing_moe_linear", "bailing_moe_v3", "dbrx"}
    | {"deepseek_v41", "gear", "gpt2", "gpt_bigcode", "iquestloopcoder", "jamba", "kimi_k3"}
    | {"kimi_linear", "lille-130m", "longcat_flash_ngram", "mamba", "mamba2", "mellum"}
    | {"minimax_m3_vl", "muse_glimmer", "muse_spark", "nanochat", "nemotron_h", "openelm"}
    | {"phixtral", "plamo", "plamo2", "plamo3", "prism_hadamard_qwen35", "qwen"}
    | {"recurrent_gemma", "rwkv7", "spark2_5", "step3p5", "talkie"}
)
"""Files that are there and have no rule here."""
_NAMED: Mapping[str, str] = MappingProxyType(
    {"mistral": "llama", "llava": "mistral3", "falcon_mamba": "mamba", "phi-msft": "phixtral"}
    | {"joyai_llm_flash": "deepseek_v3", "kimi_k2": "deepseek_v3", "qwen2_5_vl": "qwen2_vl"}
    | {"minimax_m2": "minimax", "iquestcoder": "llama", "xverse": "llama"}
    | {"gemma4_unified": "gemma4", "deepseek_v41_text": "deepseek_v41"}
)
_WRAPPED: Mapping[str, str] = MappingProxyType(
    {"gemma3": "gemma3_text", "gemma4": "gemma4_text", "pixtral": "llama", "qwen2_vl": "qwen2"}
    | {"qwen3_vl": "qwen3", "qwen3_vl_moe": "qwen3_moe", "kimi_vl": "deepseek_v3"}
    | {"kimi_k25": "deepseek_v3", "lfm2-vl": "lfm2", "smollm3": "llama", "solar_open": "glm4_moe"}
    | {"qwen3_5_moe": "qwen3_5"}
)
"""Files around a text model -> its file."""


def file_name(config: Keys) -> str:
    """The file of the text model, whether or not it is there."""
    stated = str(config.get("model_type") or "")
    name = _NAMED.get(stated, stated)
    if name == "mistral3":
        text = str(inner(config, "text_config").get("model_type") or "")
        return text if text in ("ministral3", "mistral4") else "llama"
    return _WRAPPED.get(name, name)


def text_keys(config: Keys) -> Keys:
    """The keys that it reads: of ``text_config`` where there is one.

    EngineRaises for a section that leaves its sizes to a config class: a file has none of its own.
    """
    section = inner(config, "text_config")
    if section and first(section, HIDDEN) is None:
        raise EngineRaises("TypeError: missing 1 required argument: 'hidden_size'")
    return section or config
