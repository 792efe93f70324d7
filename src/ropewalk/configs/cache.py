"""Numbers that a layer caches for a token.

    e = 2 g d           keys and values of g key heads of d channels: grouped heads
      = g (d_k + d_v)   where values have a width of their own
      = c + r (+ i)     multi-head latent attention: the latent vector, the shared rotary key,
                        and the indexer's key where there is one

g  num_key_value_heads, d  head_dim, c  kv_lora_rank, r  qk_rope_head_dim, i  index_head_dim

Source: the sizes are the architectures'; DeepSeek-V2, arXiv:2405.04434, table 1, for the latent.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.attention import Attention, Full, NoAttention, Recurrent, Sliding
from ropewalk.configs.keys import BLOCKS, HEADS, HIDDEN, KEY_HEADS, KEY_HEADS_OF_LAYERS
from ropewalk.configs.layer_keys import block_attention
from ropewalk.configs.numbers import required_size, size
from ropewalk.configs.text import model_type


@dataclass(frozen=True, slots=True)
class Cache(ABC):
    """What one layer keeps of a token."""

    @property
    @abstractmethod
    def numbers_per_token(self) -> int:
        """e"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCache(Cache):
    """Keys and values of each key head."""

    key_heads: int
    key_dim: int
    value_dim: int

    @property
    def numbers_per_token(self) -> int:
        return self.key_heads * (self.key_dim + self.value_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentCache(Cache):
    """One latent vector and one rotary key for all heads, and the key of a sparse indexer."""

    latent_dim: int
    rotary_dim: int
    indexer_dim: int

    @property
    def numbers_per_token(self) -> int:
        return self.latent_dim + self.rotary_dim + self.indexer_dim


@dataclass(frozen=True, slots=True)
class NoCache(Cache):
    """A layer without keys, or one that reads the cache of an earlier layer."""

    @property
    def numbers_per_token(self) -> int:
        return 0


def read_cache(text: Mapping[str, Any], attention: Attention, index: int) -> Cache:
    """The cache of the layer at ``index``. Raises RopewalkError for sizes that are not stated."""
    if isinstance(attention, Recurrent | NoAttention):
        return NoCache()
    rank = size(text, "kv_lora_rank")
    if rank and text.get("qk_rope_head_dim") is not None:
        return LatentCache(
            latent_dim=rank,
            rotary_dim=required_size(text, "qk_rope_head_dim"),
            indexer_dim=_indexer(text, attention, index),
        )
    width = _head_dim(text, attention)
    return KeyCache(
        key_heads=_key_heads(text, attention, index),
        key_dim=width,
        value_dim=size(text, *_own(attention, "v_head_dim"), "v_head_dim") or width,
    )


def reads_another_cache(text: Mapping[str, Any], index: int, layers: int) -> bool:
    """Whether a layer keeps nothing and reads the keys and values of an earlier one.

    Source: transformers 5.23.0, Gemma 3n (num_kv_shared_layers: the last ones); tencent
        Hunyuan-Large, modeling_hunyuan.py (use_cla: all but one in cla_share_factor).
    """
    factor = size(text, "cla_share_factor") if text.get("use_cla") is True else None
    if factor and index % factor:
        return True
    return index >= layers - (size(text, "num_kv_shared_layers") or 0)


def _own(attention: Attention, name: str) -> tuple[str, ...]:
    """Keys of layers with a window alone (MiMo-V2)."""
    return (f"swa_{name}",) if isinstance(attention, Sliding) else ()


def caches_differ(text: Mapping[str, Any]) -> bool:
    """Whether a config states for each layer what it keeps: its key heads, its indexer."""
    names = (*KEY_HEADS, KEY_HEADS_OF_LAYERS, BLOCKS, _INDEXERS)
    return any(isinstance(text.get(name), list | tuple) for name in names)


def _indexer(text: Mapping[str, Any], attention: Attention, index: int) -> int:
    """Channels of the indexer's key; layers with a window have none, shared ones another layer's.

    Source: transformers 5.23.0, HY-V4 (indexer_types: full or shared) and Dots3 Note.
    """
    types = text.get(_INDEXERS)
    shared = isinstance(types, list | tuple) and [*types[index : index + 1]] == ["shared"]
    if shared or isinstance(attention, Sliding):
        return 0
    return size(text, "index_head_dim") or 0


_INDEXERS = "indexer_types"


def _head_dim(text: Mapping[str, Any], attention: Attention) -> int:
    own = ("global_head_dim",) if isinstance(attention, Full) else _own(attention, "head_dim")
    stated = size(text, *own, "head_dim", "attention_head_dim", "dim_head")
    if stated:
        return stated
    width = required_size(text, *HIDDEN) // required_size(text, *HEADS)
    return required_size({"head_dim": width}, "head_dim")


def _key_heads(text: Mapping[str, Any], attention: Attention, index: int) -> int:
    """g of one layer: one number, or one a layer; without it, as many as query heads."""
    if isinstance(attention, Full) and text.get("attention_k_eq_v"):
        stated = size(text, "num_global_key_value_heads")
        if stated:
            return stated
    own = size(text, *_own(attention, KEY_HEADS[0])) or _listed_key_heads(text, index)
    if own:
        return own
    if isinstance(attention, Sliding) and model_type(text) in families.KEY_HEADS_TWICE_IN_WINDOWS:
        return 2 * required_size(text, *KEY_HEADS, *HEADS)
    if text.get("multi_query") is True and not text.get("new_decoder_architecture"):
        return 1
    return required_size(text, *KEY_HEADS, *HEADS)


def _listed_key_heads(text: Mapping[str, Any], index: int) -> int | None:
    """g where it is stated layer by layer: in blocks, as a group's heads, or in a list."""
    if group := size(block_attention(text, index), "n_heads_in_group"):
        return required_size({"heads": required_size(text, *HEADS) // group}, "heads")
    for name in (KEY_HEADS_OF_LAYERS, *KEY_HEADS):
        listed = text.get(name)
        if isinstance(listed, list | tuple) and len(listed) > index:
            return required_size({name: listed[index]}, name)
    return None
