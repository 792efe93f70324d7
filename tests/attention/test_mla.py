"""Latent attention: prefill and absorbed decoding are one attention under one softmax scale."""

import math

import pytest
import torch
from torch.testing import assert_close

from readings import encoding_from_config, softmax_scale
from ropewalk.attention.mla import LatentAttention
from ropewalk.attention.reference import attend_reference
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rotation import rotate
from ropewalk.methods.build import encoding

HEADS, PASSING, TURNING, RANK, VALUE = 3, 16, 8, 20, 12
L0, TOKENS = 16, 48
GEOMETRY = RopeGeometry(head_dim=TURNING, rope_theta=50.0, trained_length=L0, pairing="interleaved")
EQUAL = {"rtol": 0, "atol": 1e-10}

LITE = {
    "model_type": "deepseek_v2",
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
}
LITE_YARN = {
    "type": "yarn",
    "factor": 40,
    "original_max_position_embeddings": 4096,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
}
MAGNITUDE = 1 + 0.1 * 0.707 * math.log(40)


def latent_attention(scale: float) -> LatentAttention:
    generator = torch.Generator().manual_seed(0)
    up = torch.randn(HEADS * (PASSING + VALUE), RANK, generator=generator, dtype=torch.float64)
    return LatentAttention.from_kv_up(up, heads=HEADS, value_dim=VALUE, softmax_scale=scale)


def inputs(queries: int = TOKENS, batch: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q = random(batch, HEADS, TOKENS, PASSING + TURNING)[:, :, -queries:]
    return q, random(batch, TOKENS, RANK), random(batch, TOKENS, TURNING)


# The softmax scale.


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 192**-0.5),
        ({"rope_scaling": LITE_YARN}, 192**-0.5 * MAGNITUDE**2),
        ({"rope_scaling": {**LITE_YARN, "mscale_all_dim": 0}}, 192**-0.5),
        ({"rope_scaling": {**LITE_YARN, "type": "default"}}, 192**-0.5),
        ({"rope_scaling": {**LITE_YARN, "apply_yarn_scaling": False}}, 192**-0.5),
        ({"rope_scaling": {**LITE_YARN, "apply_yarn_scaling": True}}, 192**-0.5 * MAGNITUDE**2),
        ({"rope_scaling": LITE_YARN, "head_dim": 512, "compress_ratios": [0, 4, 128]}, 512**-0.5),
        ({"rope_scaling": LITE_YARN, "compress_ratios": [4]}, 192**-0.5),
    ],
)
def test_the_scale_is_that_of_the_expanded_head(keys, expected):
    assert softmax_scale({**LITE, **keys}) == pytest.approx(expected, rel=1e-14)


def test_the_scale_of_deepseek_v2_lite_is_the_published_number():
    assert softmax_scale({**LITE, "rope_scaling": LITE_YARN}) == pytest.approx(
        0.1147213867929261, rel=1e-14
    )


# One attention, two computations.


@pytest.mark.parametrize("queries", [TOKENS, 5, 1])
@pytest.mark.parametrize(
    "spec",
    ["none", "yarn:factor=4", "dynamic_ntk", "dynamic_yarn:policy=fixed,length=48", "none+log_n"],
)
def test_decoding_on_the_latent_is_prefill(spec, queries):
    attention, given = latent_attention((PASSING + TURNING) ** -0.5), inputs(queries)
    built = encoding(spec, GEOMETRY)
    assert_close(attention.decode(*given, built), attention.prefill(*given, built), **EQUAL)


@pytest.mark.parametrize("wrong", [(RANK + TURNING) ** -0.5, 1.26**2 * (PASSING + TURNING) ** -0.5])
def test_a_scale_of_its_own_breaks_either_side(wrong):
    """The width of the latent cache, or a magnitude that only one side applies."""
    right, given = (PASSING + TURNING) ** -0.5, inputs()
    built = encoding("yarn:factor=4", GEOMETRY)
    expected = latent_attention(right).prefill(*given, built)
    for other in (latent_attention(wrong).prefill, latent_attention(wrong).decode):
        assert (other(*given, built) - expected).abs().max() > 0.01


@pytest.mark.parametrize("spec", ["none", "yarn:factor=4", "dynamic_ntk"])
def test_prefill_is_the_equation_of_the_paper(spec):
    """Equations 9 to 19, head by head: full keys and values, rotary channels turned by hand."""
    scale, (q, latent, shared) = 0.3, inputs(batch=1)
    attention, built = latent_attention(scale), encoding(spec, GEOMETRY)
    for head in range(HEADS):
        passing = latent[0] @ attention.key_up[head].T
        values = latent[0] @ attention.value_up[head].T
        for m in (0, 7, L0, TOKENS - 1):
            length = max(m + 1, L0)
            theta = built.frequencies.inv_freq(length)
            factor = built.frequencies.attention_factor(length)

            def turned(x, at, theta=theta, factor=factor):
                angles = torch.as_tensor(at, dtype=torch.float64)[..., None] * theta
                return rotate(x, angles, pairing="interleaved", factor=factor)

            rotary = turned(shared[0, : m + 1], torch.arange(m + 1)) @ turned(
                q[0, head, m, PASSING:], m
            )
            logits = scale * (passing[: m + 1] @ q[0, head, m, :PASSING] + rotary)
            expected = logits.softmax(dim=0) @ values[: m + 1]
            actual = attention.prefill(q, latent, shared, built)[0, head, m]
            assert_close(actual, expected, **EQUAL)


def test_absorbed_heads_are_one_key_head_for_the_oracle():
    """decode against the literal oracle over [c; r], with only the rotary channels turned."""
    q, latent, shared = inputs(batch=1)
    attention = latent_attention(0.3)
    absorbed = torch.einsum("bhmp,hpc->bhmc", q[..., :PASSING], attention.key_up)
    # Rotary channels first: there the oracle turns them.
    wide = RopeGeometry(
        head_dim=RANK + TURNING,
        rope_theta=50.0,
        trained_length=L0,
        partial_rotary_factor=TURNING / (RANK + TURNING) + 1e-12,
        pairing="interleaved",
    )
    weighted = attend_reference(
        torch.cat([q[..., PASSING:], absorbed], dim=-1),
        torch.cat([shared, latent], dim=-1)[:, None],
        latent[:, None],
        encoding("none", wide),
        softmax_scale=0.3,
    )
    expected = torch.einsum("bhmc,hec->bhme", weighted, attention.value_up)
    assert_close(attention.decode(q, latent, shared, encoding("none", GEOMETRY)), expected, **EQUAL)


# transformers.

TINY = {
    "hidden_size": 36,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "kv_lora_rank": RANK,
    "qk_nope_head_dim": PASSING,
    "qk_rope_head_dim": TURNING,
    "v_head_dim": VALUE,
    "max_position_embeddings": 160,
    "attn_implementation": "eager",
}


def library_attention(family: str, keys: dict):
    """The family's attention with large random weights, its rotary module and its config."""
    from transformers import DeepseekV2Config, DeepseekV3Config
    from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

    module, config_class, prefix = {
        "deepseek_v2": (v2, DeepseekV2Config, "DeepseekV2"),
        "deepseek_v3": (v3, DeepseekV3Config, "DeepseekV3"),
    }[family]
    config = config_class(**TINY, **keys)
    torch.manual_seed(0)
    attention = getattr(module, f"{prefix}Attention")(config, 0).eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return attention, getattr(module, f"{prefix}RotaryEmbedding")(config), config


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3"])
@pytest.mark.parametrize("query_rank", [None, 10])
@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 50.0},
        {
            "rope_type": "yarn",
            "rope_theta": 50.0,
            "factor": 10.0,
            "original_max_position_embeddings": 16,
            "mscale": 1.0,
            "mscale_all_dim": 0.7,
        },
    ],
    ids=["default", "yarn"],
)
def test_both_ways_are_what_transformers_computes(family, query_rank, rope):
    """In float32, in which the library turns; interleaved channels at the end of a head."""
    attention, rotary, config = library_attention(
        family, {"q_lora_rank": query_rank, "rope_parameters": rope}
    )
    hidden = torch.randn(2, TOKENS, 36)
    mask = torch.full((TOKENS, TOKENS), float("-inf")).triu(1)[None, None]
    with torch.no_grad():
        positions = rotary(hidden, torch.arange(TOKENS)[None].expand(2, -1))
        expected, _ = attention(hidden, position_embeddings=positions, attention_mask=mask)
        given = projected(attention, hidden)
        ours = LatentAttention.from_kv_up(
            attention.kv_b_proj.weight,
            heads=HEADS,
            value_dim=VALUE,
            softmax_scale=softmax_scale(config.to_dict()),
        )
        built = encoding_from_config(config.to_dict())
        for heads in (ours.prefill(*given, built), ours.decode(*given, built)):
            actual = attention.o_proj(heads.transpose(1, 2).flatten(2))
            # float32 at magnitude 5 differs by 3e-6; sigma without the magnitude by 0.6.
            assert_close(actual, expected, rtol=0, atol=3e-5)


def projected(attention, hidden):
    """q, normed latent and shared key of the library's module, before any rotation."""
    down = attention.kv_a_proj_with_mqa(hidden)
    if attention.q_lora_rank is None:
        q = attention.q_proj(hidden)
    else:
        q = attention.q_b_proj(attention.q_a_layernorm(attention.q_a_proj(hidden)))
    latent = attention.kv_a_layernorm(down[..., :RANK])
    return q.unflatten(-1, (HEADS, -1)).transpose(1, 2), latent, down[..., RANK:]


# Bad input.


@pytest.mark.parametrize(
    ("key_shape", "value_shape"), [((3, 16), (3, 12, 20)), ((3, 16, 20), (2, 12, 20))]
)
def test_weights_that_do_not_fit_are_refused(key_shape, value_shape):
    with pytest.raises(RopewalkError, match="kv_lora_rank"):
        LatentAttention(
            key_up=torch.zeros(key_shape), value_up=torch.zeros(value_shape), softmax_scale=1.0
        )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_inputs_that_do_not_fit_are_refused(index):
    given = list(inputs())
    given[index] = given[index][..., :-1]
    attention, built = latent_attention(1.0), encoding("none", GEOMETRY)
    for way in (attention.prefill, attention.decode):
        with pytest.raises(RopewalkError, match="expected q"):
            way(*given, built)
