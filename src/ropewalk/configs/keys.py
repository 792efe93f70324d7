"""Spellings of a config's keys that several readers share."""

ROPE_DICTS = ("rope_scaling", "rope_parameters")
THETAS = ("rope_theta", "rotary_emb_base", "global_rope_theta", "rope_embedding_base")
LOCAL_THETAS = ("rope_local_base_freq", "local_rope_theta", "swa_rope_theta")
SHARES = ("partial_rotary_factor", "rotary_pct", "rotary_emb_fraction", "rope_pct", "rope_percent")
LENGTHS = (
    *("max_position_embeddings", "n_positions", "model_max_length", "max_seq_len"),
    "seq_length",
)
ORIGINAL = "original_max_position_embeddings"
TRAINED = "max_trained_positions"
REACHED = "max_sequence_length"
HIDDEN = ("hidden_size", "n_embd")
HEADS = ("num_attention_heads", "n_head")
KEY_HEADS = ("num_key_value_heads", "num_kv_heads")
KEY_HEADS_OF_LAYERS = "num_key_value_heads_per_layer"
BLOCKS = "block_configs"
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
"""Layer types, in the words of ``layer_types``."""

BESIDE_SPEED = ("mrope_section", "mrope_interleaved", "llama_4_scaling_beta")
"""Keys of a rope dict, of any type, that say something else than how fast pairs turn."""
