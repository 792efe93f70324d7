"""Public reports of models whose layers differ, held against the model itself."""

import pytest
from torch.testing import assert_close
from transformers import (
    GraniteMoeHybridConfig,
    GraniteMoeHybridForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
)

import ropewalk as rw
from recipes.families.sharpened import logits, sharpen, token_ids


def test_47_a_model_without_positions_is_planned_as_it_is_extended():
    """granite-4.0-h, transformers PR 42872: position_embedding_type nope."""
    config = GraniteMoeHybridConfig(
        hidden_size=64,
        intermediate_size=64,
        shared_intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=97,
        max_position_embeddings=64,
        pad_token_id=0,
        num_local_experts=0,
        layer_types=["full_attention", "full_attention"],
        position_embedding_type="nope",
    )
    plan = rw.plan(config.to_dict(), 128)
    assert plan["recommended"] == {"extend": None, "serve": None}
    model = sharpen(GraniteMoeHybridForCausalLM(config).eval())
    with pytest.raises(rw.RopewalkError, match=r"position_embedding_type is nope.*nothing to scal"):
        rw.extend(model, "yarn:factor=2")


def test_48_windows_that_rotate_and_a_global_layer_that_does_not():
    """Llama 4, llama.cpp PR 12889: chunks with RoPE, a layer without, a temperature by position."""
    config = Llama4TextConfig(
        hidden_size=64,
        intermediate_size=64,
        intermediate_size_mlp=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=97,
        num_local_experts=2,
        num_experts_per_tok=1,
        max_position_embeddings=64,
        attn_temperature_tuning=True,
        floor_scale=8,
        attn_scale=0.5,
        attention_chunk_size=32,
        no_rope_layers=[1, 1, 1, 0],
        moe_layers=[],
        pad_token_id=0,
    )
    model, ids = sharpen(Llama4ForCausalLM(config).double().eval()), token_ids(1, 48) % 90 + 3
    stock = logits(model, ids)
    with rw.extend(model, "native"):
        assert_close(logits(model, ids), stock, rtol=0, atol=1e-4)
    with pytest.raises(rw.RopewalkError, match="no longer than the trained length"):
        rw.extend(model, "yarn:factor=2")
    assert rw.plan(config.to_dict(), 512)["recommended"]["extend"] is None
