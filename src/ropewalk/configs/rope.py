"""The rope keys of a config.json, whatever the dialect, read once for the whole project.

Two generations of transformers (``rope_scaling``, ``rope_parameters``), one dict for the model
or one for each layer type, text models inside multimodal configs, and five spellings of a
partial rotation all become one record, ``RopeSection``. Where sources disagree:

- the text model's keys win over the outer config's, ``rope_scaling`` over ``rope_parameters``,
  ``rope_type`` over ``type``, keys inside the rope dict over those beside it;
- ``original_max_position_embeddings`` beside a flat rope dict wins over the one inside it, and
  does not count beside per-layer-type dicts; absent, it is ``max_position_embeddings``;
- types that do not refer to it (dynamic and linear among them) take ``max_trained_positions``,
  else ``max_position_embeddings``, as the trained length.
"""

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import Pairing, RopeGeometry

LARGEST_NUMBER = 1e18
LARGEST_HEAD_DIM = 2**16
LARGEST_LENGTH = 2**40

_TEXT_SECTIONS = ("text_config", "llm_config", "language_config")
_LONGEST = ("max_position_embeddings", "n_positions", "model_max_length", "max_seq_len")
_ROPE_DICTS = ("rope_scaling", "rope_parameters")
_ORIGINAL = "original_max_position_embeddings"
_THETAS = ("rope_theta", "rotary_emb_base", "global_rope_theta")
LOCAL_THETAS = ("rope_local_base_freq", "local_rope_theta")
_SHARES = ("partial_rotary_factor", "rotary_pct", "rotary_emb_fraction")
_ROPE_FIELDS = (*_ROPE_DICTS, *_THETAS, *LOCAL_THETAS, *_SHARES, "rotary_dim", "qk_rope_head_dim")
_TYPE_ALIASES = {"su": "longrope", "mrope": "default"}
_TYPES_FROM_ORIGINAL = frozenset({"yarn", "longrope", "llama3"})
_SCALES_FULL_ATTENTION_ONLY = frozenset({"olmo3"})
_INTERLEAVED = re.compile(
    "codegen|cohere|cohere2|cohere2_moe|deepseek_v2|deepseek_v3|deepseek_v32|ernie4_5|"
    "ernie4_5_moe|glm|glm4|glm4_moe_lite|glm_moe_dsa|gptj|helium|llama4|llama4_text|"
    "longcat_flash|mistral4|roformer"
)
_THETA_WHERE_UNSTATED = {
    **dict.fromkeys(("bitnet", "cohere", "csm", "ernie4_5", "ernie4_5_moe"), 5e5),
    **dict.fromkeys(("flex_olmo", "llama4_text", "mllama_text_model", "olmo3"), 5e5),
    **dict.fromkeys(("cwm", "emu3", "gemma3_text", "gemma3n_text", "lfm2", "lfm2_moe"), 1e6),
    **dict.fromkeys(("minimax", "mixtral", "phimoe", "qwen2_vl_text", "qwen2_5_vl_text"), 1e6),
    **{"apertus": 1.2e7, "gpt_oss": 1.5e5, "helium": 1e5, "nomic_bert": 1e3, "smollm3": 2e6},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeSection:
    """What a config.json says about positions, for one layer type, in one spelling.

    layer_type               the layer type read, or None where the config knows one kind
    rope_type                "default" or the name of a scaling, aliases resolved
    head_dim                 channels of a head; the rotary part alone in latent attention (MLA)
    max_position_embeddings  the length that the config admits, in tokens
    trained_length           L0, in tokens: the length that ``rope_type`` refers to
    softmax_scale            sigma of the architecture, before MLA's mscale
    latent_attention         whether this is MLA whose softmax scale takes YaRN's mscale
    parameters               the remaining keys of the rope dict in force, lists as tuples
    """

    model_type: str
    layer_type: str | None
    rope_type: str
    rope_theta: float
    head_dim: int
    partial_rotary_factor: float
    pairing: Pairing
    max_position_embeddings: int
    trained_length: int
    softmax_scale: float
    latent_attention: bool
    parameters: Mapping[str, Any]

    def geometry(self) -> RopeGeometry:
        """What the checkpoint was trained with."""
        return RopeGeometry(
            head_dim=self.head_dim,
            rope_theta=self.rope_theta,
            trained_length=self.trained_length,
            partial_rotary_factor=self.partial_rotary_factor,
            pairing=self.pairing,
        )

    def number(self, name: str) -> float | None:
        """A rope parameter, None where it is absent or null; RopewalkError if not a number."""
        return _optional(self.parameters, name)


def read_rope_section(config: Mapping[str, Any], layer_type: str | None = None) -> RopeSection:
    """Normalise the rope keys of ``config`` (a parsed config.json).

    layer_type  which rope dict to read where layer types differ; None: "full_attention"

    Raises RopewalkError for a config without rope keys or with numbers that make no rotation.
    """
    text = text_model(config)
    rope, chosen, nested = rope_dict_in_force(text, layer_type)
    rope_type, longest = _rope_type(rope), _longest(text)
    head_dim, latent = _head_dim(text, chosen), text.get("qk_rope_head_dim") is not None
    share = _share(text, rope, head_dim)
    turns_whole_head = latent or rope_type == "proportional"
    section = RopeSection(
        model_type=_model_type(text),
        layer_type=chosen,
        rope_type=rope_type,
        rope_theta=_theta(text, rope),
        head_dim=head_dim,
        partial_rotary_factor=1.0 if turns_whole_head else share,
        pairing=_pairing(text),
        max_position_embeddings=longest,
        trained_length=_trained_length(text, rope, rope_type, nested=nested, longest=longest),
        softmax_scale=_softmax_scale(text, head_dim),
        latent_attention=latent and not text.get("compress_ratios"),
        parameters=_parameters(rope, share if rope_type == "proportional" else None),
    )
    section.geometry()
    return section


def text_model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text model's keys over the outer ones; a rope dict inside hides those outside."""
    if not isinstance(config, Mapping):
        raise RopewalkError(f"a config that is a {type(config).__name__}: expected a JSON object")
    name = text_section(config)
    inner = {} if name is None else config[name]
    hidden = {*_ROPE_DICTS, _ORIGINAL} if any(key in inner for key in _ROPE_DICTS) else set()
    text = {**{k: v for k, v in config.items() if k not in hidden}, **inner}
    if not any(key in text for key in _ROPE_FIELDS):
        raise RopewalkError("no rope fields: expected rope_theta, rope_parameters or rope_scaling")
    return text


def text_section(config: Mapping[str, Any]) -> str | None:
    """The key of a multimodal config that holds the text model's keys, None where none does."""
    name = next((name for name in _TEXT_SECTIONS if config.get(name) is not None), None)
    return name if name and isinstance(config[name], Mapping) else None


def rope_dict_in_force(
    text: Mapping[str, Any], layer_type: str | None
) -> tuple[Mapping[str, Any], str | None, bool]:
    """(rope dict, layer type, whether the config has one dict for each layer type)."""
    rope = _rope_dict(text)
    if any(isinstance(v, Mapping) for v in rope.values()) and not {"rope_type", "type"} & {*rope}:
        chosen = _known_layer_type(layer_type or _main_layer_type(rope), tuple(rope))
        inner = rope[chosen]
        if not isinstance(inner, Mapping):
            raise RopewalkError(f"layer type {chosen} has no rope parameters; choose another")
        return inner, chosen, True
    if layer_type is None:
        return rope, None, False
    listed = text.get("layer_types")
    names = tuple(map(str, listed)) if isinstance(listed, list | tuple) else ()
    _known_layer_type(layer_type, names or ("full_attention", "sliding_attention"))
    is_sliding = layer_type == "sliding_attention"
    return _sliding_rope(text, rope) if is_sliding else rope, layer_type, False


def _main_layer_type(rope: Mapping[str, Any]) -> str:
    """Full attention, where its layers have positions; else the first type that has."""
    turning = [name for name, inner in rope.items() if isinstance(inner, Mapping)]
    return "full_attention" if "full_attention" in turning else turning[0]


def _rope_dict(text: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _ROPE_DICTS:
        value = text.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise RopewalkError(f"{name}={reprlib.repr(value)}: expected a JSON object or null")
        if value:
            return value
    return {}


def _known_layer_type(name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        listed = ", ".join(dict.fromkeys(known))
        raise RopewalkError(f"layer type {name}: expected one of {listed}; name one of them")
    return name


def _sliding_rope(text: Mapping[str, Any], rope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Sliding layers of families whose flat rope dict is meant for full attention."""
    local = _first(text, LOCAL_THETAS)
    if local is not None:
        return {"rope_theta": local}
    if _model_type(text) in _SCALES_FULL_ATTENTION_ONLY:
        return {k: rope[k] for k in ("rope_theta", "partial_rotary_factor") if k in rope}
    return rope


def _rope_type(rope: Mapping[str, Any]) -> str:
    name = _first(rope, ("rope_type", "type"))
    if name is None and rope.get("factor") is not None:
        raise RopewalkError('factor without rope_type: expected for example "rope_type": "yarn"')
    if not isinstance(name, str | None):
        raise RopewalkError(f"rope_type={reprlib.repr(name)}: expected a name such as yarn")
    return "default" if name is None else _TYPE_ALIASES.get(name, name)


def _longest(text: Mapping[str, Any]) -> int:
    value = _first(text, _LONGEST)
    if value is None:
        raise RopewalkError("no max_position_embeddings: expected a number of tokens; add it")
    return _integer(value, "max_position_embeddings", smallest=2, largest=LARGEST_LENGTH)


def _head_dim(text: Mapping[str, Any], layer_type: str | None) -> int:
    wider = ("global_head_dim",) if layer_type == "full_attention" else ()
    value = _first(text, ("qk_rope_head_dim", *wider, "head_dim"))
    if value is not None:
        return _integer(value, "head_dim", smallest=1, largest=LARGEST_HEAD_DIM)
    hidden = _first(text, ("hidden_size", "n_embd"))
    heads = _first(text, ("num_attention_heads", "n_head"))
    if hidden is None or heads is None:
        raise RopewalkError("no head_dim: expected it, or hidden_size and num_attention_heads")
    width = _integer(hidden, "hidden_size") // _integer(heads, "num_attention_heads", smallest=1)
    return _integer(width, "head_dim", smallest=1, largest=LARGEST_HEAD_DIM)


def _share(text: Mapping[str, Any], rope: Mapping[str, Any], head_dim: int) -> float:
    value = rope.get("partial_rotary_factor")
    value = _first(text, _SHARES) if value is None else value
    if value is not None:
        return _number(value, "partial_rotary_factor")
    stated = text.get("rotary_dim") or head_dim
    turning = _integer(stated, "rotary_dim", smallest=1, largest=head_dim)
    share = turning / head_dim
    # A quotient that was rounded down would lose a channel when it is multiplied back.
    return share if int(head_dim * share) == turning else math.nextafter(share, 1.0)


def _theta(text: Mapping[str, Any], rope: Mapping[str, Any]) -> float:
    value = rope.get("rope_theta")
    value = _first(text, _THETAS) if value is None else value
    if value is not None:
        return _number(value, "rope_theta")
    if "rope_theta" in rope or "rope_theta" in text:
        raise RopewalkError("rope_theta=null: expected a number above 1; add it")
    return _THETA_WHERE_UNSTATED.get(_model_type(text), 10_000.0)


def _trained_length(
    text: Mapping[str, Any], rope: Mapping[str, Any], rope_type: str, *, nested: bool, longest: int
) -> int:
    name = _ORIGINAL if rope_type in _TYPES_FROM_ORIGINAL else "max_trained_positions"
    beside = None if nested and name == _ORIGINAL else text.get(name)
    value = rope.get(name) if beside is None else beside
    return _integer(longest if value is None else value, name, smallest=2, largest=LARGEST_LENGTH)


def _softmax_scale(text: Mapping[str, Any], head_dim: int) -> float:
    """sigma: stated (Granite, Gemma 2 and 3), else one over the root of the head's width."""
    for name, power in (("attention_multiplier", 1.0), ("query_pre_attn_scalar", -0.5)):
        value = _optional(text, name)
        if value is not None and value > 0:
            return float(value**power)
    if text.get("compress_ratios") and text.get("head_dim") is not None:  # DeepSeek-V4
        return float(_integer(text["head_dim"], "head_dim", smallest=1) ** -0.5)
    is_latent = text.get("qk_rope_head_dim") is not None
    passing = _optional(text, "qk_nope_head_dim") if is_latent else None
    return float((head_dim + _integer(passing or 0, "qk_nope_head_dim")) ** -0.5)


def _pairing(text: Mapping[str, Any]) -> Pairing:
    by_family = _INTERLEAVED.fullmatch(_model_type(text)) is not None
    return "interleaved" if text.get("rope_interleave", by_family) else "half"


def _parameters(rope: Mapping[str, Any], share: float | None) -> Mapping[str, Any]:
    kept = {
        str(key): tuple(value) if isinstance(value, list) else value
        for key, value in rope.items()
        if key not in ("rope_type", "type", "rope_theta", "partial_rotary_factor")
    }
    return MappingProxyType(kept if share is None else {**kept, "partial_rotary_factor": share})


def _model_type(text: Mapping[str, Any]) -> str:
    return str(text.get("model_type") or "")


def _first(text: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first value that is neither absent nor null, else None."""
    return next((text[name] for name in names if text.get(name) is not None), None)


def _optional(section: Mapping[str, Any], name: str) -> float | None:
    value = section.get(name)
    return None if value is None else _number(value, name)


def _number(value: object, name: str) -> float:
    # A bool is an int in Python; NaN fails every comparison; a huge int compares exactly.
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not abs(value) <= LARGEST_NUMBER:  # type: ignore[arg-type]
        raise RopewalkError(f"{name}={reprlib.repr(value)}: expected a number up to 10^18")
    return float(value)  # type: ignore[arg-type]


def _integer(value: object, name: str, *, smallest: int = 0, largest: float = 1e18) -> int:
    number = _number(value, name)
    if number != int(number) or not smallest <= number <= largest:
        raise RopewalkError(f"{name}={value}: expected a whole number {smallest} to {largest:.0f}")
    return int(number)
