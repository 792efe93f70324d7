"""The config of a small decoder: its shape, and the encoding of each kind of layer."""

from transformers import PreTrainedConfig

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding as encoding_of


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
