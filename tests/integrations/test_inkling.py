"""Inkling of transformers: whole logits with the library's attention exchanged for ours."""

import pytest
import torch
from torch.testing import assert_close
from transformers import AttentionInterface, InklingForCausalLM
from transformers.models.inkling.configuration_inkling import InklingTextConfig

from ropewalk.attention.tiled import attend
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rows import PaddedRows
from ropewalk.methods.build import encoding

WINDOW, EXTENT, FLOOR, TOKENS = 6, 9, 5, 40
TAU_OF_THE_LIBRARY = 1e-6
"""It takes its logarithm in float32."""


@pytest.fixture
def model():
    """Sliding and global layers; biases as large as scores."""
    config = InklingTextConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, swa_num_attention_heads=4, swa_num_key_value_heads=2,
        swa_head_dim=8, sliding_window_size=WINDOW, d_rel=3, rel_extent=EXTENT,
        log_scaling_n_floor=FLOOR, intermediate_size=48, max_position_embeddings=64,
        layer_types=["hybrid_sliding", "hybrid", "hybrid_sliding", "hybrid"],
        mlp_layer_types=["dense"] * 4, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = InklingForCausalLM(config).double().eval()
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "r_proj"):
                for weight in (module.r_proj.weight, module.rel_logits_proj.proj):
                    weight.normal_()
                for weight in (module.q_proj.weight, module.k_proj.weight, module.o_proj.weight):
                    weight.normal_(std=0.3)
    return model


@pytest.fixture
def ours(model):
    """The same weights under our attention, by the interface of the library."""
    read, held = {}, []
    for layer in model.model.layers:

        def keep(module, args, given):
            read[module] = given["hidden_states"] if "hidden_states" in given else args[0]

        held.append(layer.self_attn.register_forward_pre_hook(keep, with_kwargs=True))

    def attention(module, q, k, v, mask, *, scaling, sliding_window, position_bias, **_):
        spec = f"inkling:rel_extent={module.rel_extent},d_rel=3"
        if not module.is_sliding:
            # The library hands queries that tau has multiplied; ours does so itself.
            spec += f",log_scaling_n_floor={FLOOR}"
            index = torch.arange(k.shape[2] - q.shape[2], k.shape[2])
            q = q / (1 + 0.1 * ((index + 1) / FLOOR).clamp(min=1).double().log())[:, None]
        geometry = RopeGeometry(head_dim=8, rope_theta=1e4, trained_length=64)
        built = encoding(spec, geometry)
        learned = {
            "inkling_profiles": module.rel_logits_proj.proj,
            "inkling_mix": module.r_proj.weight,
        }
        rows = PaddedRows.of(
            torch.zeros(len(q), dtype=torch.long), q.shape[2], k.shape[2], sliding_window
        )
        out = attend(
            q, k, v, built, rows=rows, softmax_scale=scaling,
            parameters={**learned, **built.of_queries(learned, read[module])},
        )  # fmt: skip
        return out.transpose(1, 2), None

    AttentionInterface.register("tests-inkling", attention)
    model.set_attn_implementation("tests-inkling")
    yield model
    AttentionInterface._global_mapping.pop("tests-inkling")
    for each in held:
        each.remove()


def test_logits_are_the_library_s(model, request):
    """Over sliding layers shorter than the text and global ones past their extent."""
    ids = torch.randint(3, 64, (2, TOKENS), generator=torch.Generator().manual_seed(1))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        stock = model(ids, use_cache=False).logits
        exchanged = request.getfixturevalue("ours")(ids, use_cache=False).logits
    assert_close(exchanged, stock, rtol=0, atol=TAU_OF_THE_LIBRARY * stock.abs().max().item())


def test_biases_decide_these_logits(model):
    """Without the profiles the same weights say something else: the comparison has teeth."""
    ids = torch.randint(3, 64, (1, TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        stock = model(ids, use_cache=False).logits
        for layer in model.model.layers:
            layer.self_attn.rel_logits_proj.proj.zero_()
        assert (model(ids, use_cache=False).logits - stock).abs().max() > 0.01 * stock.abs().max()
