"""The config of a small decoder: its shape, and the encoding of each kind of layer."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding as encoding_of
from ropewalk.methods.unscaled import none


class DecoderConfig(PreTrainedConfig):
    """Shape and encodings of a ``Decoder``; the keys are those of Llama where it has them.

    encodings  method specs, one a kind of layer: layer i has number i modulo their count; None for
               plain RoPE in all
    windows    tokens that a layer of each kind sees, or None for all before it; None for no window
    qk_norm    "rms" norms each query and key head, "none" does not
    """

    model_type = "ropewalk"

    vocab_size: int = 257
    hidden_size: int = 128
    intermediate_size: int = 352
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 4
    head_dim: int = 32
    max_position_embeddings: int = 128
    rope_theta: float = 10000.0
    partial_rotary_factor: float = 1.0
    encodings: list[str] | None = None
    windows: list[int | None] | None = None
    qk_norm: str = "none"
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True

    @property
    def geometry(self) -> RopeGeometry:
        """What every encoding is built over."""
        return RopeGeometry(
            head_dim=self.head_dim,
            rope_theta=self.rope_theta,
            trained_length=self.max_position_embeddings,
            partial_rotary_factor=self.partial_rotary_factor,
        )

    @property
    def layer_encodings(self) -> list[Encoding]:
        """Of each layer."""
        kinds = [encoding_of(spec, self.geometry) for spec in self.encodings or ("none",)]
        return [kinds[layer % len(kinds)] for layer in range(self.num_hidden_layers)]

    @property
    def layer_windows(self) -> list[int | None]:
        """Of each layer."""
        kinds = self.windows or [None]
        return [kinds[layer % len(kinds)] for layer in range(self.num_hidden_layers)]

    @property
    def layer_specs(self) -> list[str]:
        """Of each layer."""
        kinds = self.encodings or ["none"]
        return [kinds[layer % len(kinds)] for layer in range(self.num_hidden_layers)]


def is_decoder(config: Mapping[str, Any]) -> bool:
    """Whether a parsed config.json is one of a ``Decoder``."""
    return config.get("model_type") == DecoderConfig.model_type


def decoder_config(config: Mapping[str, Any]) -> DecoderConfig:
    """Of a parsed config.json; RopewalkError where it does not fit."""
    try:
        found: DecoderConfig = DecoderConfig.from_dict(dict(config))
    except (TypeError, ValueError) as error:
        raise RopewalkError(f"model_type=ropewalk: {error}; expected a config of train") from error
    return found


def library_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the keys of the library: which layers slide, and the base of those that rotate.

    Raises RopewalkError for layers that rotate by another rule than unscaled RoPE, which no such
    key can say, and for windows of several widths.
    """
    decoder = decoder_config(config)
    plain = none(decoder.geometry).frequencies
    for spec, encoding in zip(decoder.layer_specs, decoder.layer_encodings, strict=True):
        if encoding.frequencies not in (None, plain):
            raise RopewalkError(
                f"trained with {spec}: expected layers that rotate by unscaled RoPE or not at all, "
                "as rope fields can say; compare, verify and generate take this one"
            )
    widths = {window for window in decoder.layer_windows if window is not None}
    if len(widths) > 1:
        raise RopewalkError(f"windows of {sorted(widths)} tokens: expected one width")
    return {
        **decoder.to_dict(),
        "layer_types": [
            "full_attention" if window is None else "sliding_attention"
            for window in decoder.layer_windows
        ],
        "sliding_window": next(iter(widths), None),
        "layer_rope_theta": [
            0.0 if encoding.frequencies is None else decoder.rope_theta
            for encoding in decoder.layer_encodings
        ],
    }
