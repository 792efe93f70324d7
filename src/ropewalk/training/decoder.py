"""A small causal decoder that takes any encoding: RMSNorm, grouped-query attention, SwiGLU.

    x = x + W_o attend(norm(x));   x = x + W_2 (silu(W_1 norm(x)) * W_3 norm(x))

Layer i has the encoding number i of the config, from the first again after the last, so that
windows with RoPE may alternate with layers without positions. Encodings are written as method
specs; what they learn lies beside the projections of each layer. Keys are cached un-rotated.

A transformers model, so that its checkpoints load, generate and are measured as others are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from ropewalk.attention.call import Call
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend_in
from ropewalk.core.encoding import Encoding
from ropewalk.core.rows import CausalRows, PaddedRows, Rows
from ropewalk.core.score_mods import LayerShape, Parameters
from ropewalk.training.decoder_config import DecoderConfig


class RMSNorm(nn.RMSNorm):
    """In the dtype of its weight, whatever that of the heads is (autocast)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention under ``encoding``, which may be exchanged."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        width, heads, groups = (
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
        )
        self.layer, self.head_dim, self.groups = layer, config.head_dim, groups
        self.encoding = config.layer_encodings[layer]
        self.window = config.layer_windows[layer]
        self.q_proj = nn.Linear(width, heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(width, groups * config.head_dim, bias=False)
        self.v_proj = nn.Linear(width, groups * config.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * config.head_dim, width, bias=False)
        normed = config.qk_norm == "rms"
        self.q_norm, self.k_norm = (
            RMSNorm(config.head_dim, config.rms_norm_eps) if normed else nn.Identity()
            for _ in range(2)
        )
        shape = LayerShape(width=width, heads=heads, head_dim=config.head_dim)
        self.encoding_terms = nn.ParameterDict(self.encoding.init(shape))

    def forward(self, x: Tensor, calls: "Calls", cache: Cache | None) -> Tensor:
        q, k, v = (self._heads(each(x)) for each in (self.q_proj, self.k_proj, self.v_proj))
        q, k = self.q_norm(q), self.k_norm(k)
        with torch.autocast(x.device.type, enabled=False):
            terms = dict(self.encoding_terms.items())
            of_keys = self.encoding.of_keys(terms, x)
            if cache is not None:
                k, v, of_keys = self._cached(cache, k, v, of_keys)
            parameters = {**terms, **of_keys, **self.encoding.of_queries(terms, x)}
            out = self._attend(calls, q, k, v, parameters)
        projected: Tensor = self.o_proj(out.transpose(1, 2).flatten(2).to(x.dtype))
        return projected

    def _attend(
        self, calls: "Calls", q: Tensor, k: Tensor, v: Tensor, parameters: Parameters
    ) -> Tensor:
        call = calls.of(self.window, q.shape[2], k.shape[2])
        rotary = Rotary(encoding=self.encoding, parameters=parameters)
        return attend_in(call, q, k.to(q.dtype), v.to(q.dtype), rotary, Softmax())

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def _cached(
        self, cache: Cache, k: Tensor, v: Tensor, of_keys: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """All keys so far; what they carry is kept as further channels of their heads."""
        widths = [each.shape[-1] // self.groups for each in of_keys.values()]
        extra = [each.unflatten(-1, (self.groups, -1)).transpose(1, 2) for each in of_keys.values()]
        k, v = cache.update(torch.cat([k, *extra], dim=-1), v, self.layer)
        k, *carried = k.split([self.head_dim, *widths], dim=-1)
        unpacked = (each.transpose(1, 2).flatten(2) for each in carried)
        return k, v, dict(zip(of_keys, unpacked, strict=True))


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """Attention and MLP, each after a norm and added to what went in."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(config, layer), MLP(config)
        self.attention_norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp_norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, calls: "Calls", cache: Cache | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), calls, cache)
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class Calls:
    """What the layers of one forward pass share: a ``Call`` for each window."""

    def __init__(self, padding: Tensor | None, batch: int, device: torch.device) -> None:
        self._padding, self._batch, self._device = padding, batch, device
        self._made: dict[int | None, Call] = {}

    def of(self, window: int | None, queries: int, keys: int) -> Call:
        """The call of layers that see ``window`` tokens."""
        if window not in self._made:
            self._made[window] = Call(self._rows(window, queries, keys))
        return self._made[window]

    def _rows(self, window: int | None, queries: int, keys: int) -> Rows:
        if self._padding is None and window is None:
            return CausalRows.of(self._batch, queries, keys, self._device)
        padding = self._padding
        if padding is None:
            padding = torch.zeros(self._batch, dtype=torch.long, device=self._device)
        return PaddedRows.of(padding, queries, keys, window)


class PreTrainedDecoder(PreTrainedModel):
    """What the library asks for: names, and the start of weights."""

    config_class = DecoderConfig
    base_model_prefix = "model"
    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


class DecoderModel(PreTrainedDecoder):
    """Embeddings, layers and the last norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.inputs = config.layer_encodings[0].inputs
        terms = {k: v for each in self.inputs for k, v in each.init(config.hidden_size).items()}
        self.encoding_terms = nn.ParameterDict(terms)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,  # noqa: FBT001
        **_: Any,
    ) -> BaseModelOutputWithPast:
        """``input_ids`` ``[b, m]``; ``attention_mask`` ``[b, n]`` pads on the left."""
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        seen = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        padded = attention_mask is not None and not bool(attention_mask.all())
        padding = (attention_mask == 0).sum(dim=-1) if padded else None  # type: ignore[union-attr]
        calls = Calls(padding, len(input_ids), input_ids.device)
        x = self._embedded(input_ids, seen, padding)
        for layer in self.layers:
            x = layer(x, calls, past_key_values)
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(x), past_key_values=past_key_values
        )

    def _embedded(self, ids: Tensor, seen: int, padding: Tensor | None) -> Tensor:
        x: Tensor = self.embed_tokens(ids)
        positions = torch.arange(seen, seen + ids.shape[1], device=ids.device)[None]
        if padding is not None:
            positions = (positions - padding[:, None]).clamp(min=0)
        for each in self.inputs:
            x = x * each.embedding_scale(x.shape[-1])
        for each in self.inputs:
            added = each.added(dict(self.encoding_terms.items()), positions, x.shape[-1])
            x = x + added.to(x.dtype)
        return x


class Decoder(PreTrainedDecoder, GenerationMixin):
    """The decoder with its output layer, which shares the embeddings' weights."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.model = DecoderModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, input_ids: Tensor, logits_to_keep: int = 0, **inputs: Any
    ) -> CausalLMOutputWithPast:
        """Logits ``[b, m, vocabulary]``, of the last ``logits_to_keep`` rows alone if above 0."""
        found = self.model(input_ids, **inputs)
        rows = found.last_hidden_state[:, -logits_to_keep:]
        return CausalLMOutputWithPast(
            logits=self.lm_head(rows), past_key_values=found.past_key_values
        )

    def encode(self, encodings: Sequence[Encoding]) -> None:
        """Put an encoding into each layer; parameters stay those of training."""
        for layer, encoding in zip(self.model.layers, encodings, strict=True):
            layer.attention.encoding = encoding

    @property
    def windows(self) -> list[int | None]:
        """Tokens that each layer sees; None for all before it."""
        return [layer.attention.window for layer in self.model.layers]

    @property
    def encodings(self) -> list[Encoding]:
        """In force in each layer."""
        return [layer.attention.encoding for layer in self.model.layers]


def register() -> None:
    """Let transformers load checkpoints of a ``Decoder`` by their config, as it loads others."""
    AutoConfig.register(DecoderConfig.model_type, DecoderConfig, exist_ok=True)
    AutoModelForCausalLM.register(DecoderConfig, Decoder, exist_ok=True)
