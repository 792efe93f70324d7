"""assert_encoding measures what a live model does, whoever made it do so."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
)

import ropewalk as rw
from recipes.families.sharpened import L0, sharpen, tiny, token_ids
from ropewalk.integrations.live import live_rotations


def scaled(**rope):
    """A model whose own config asks for a scaling."""
    model = tiny(num_hidden_layers=2)
    settings = model.config.to_dict() | {
        "rope_parameters": {"rope_theta": 1e4, **rope},
        "max_position_embeddings": 4 * L0,
    }
    config = AutoConfig.for_model(
        "llama", **{k: v for k, v in settings.items() if k != "model_type"}
    )
    return sharpen(AutoModelForCausalLM.from_config(config).eval())


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": L0}


def test_slow_pairs_are_measured_as_exactly_as_fast_ones():
    """theta of Llama: 10,000^(-2i/16), down to 1.8e-4 radians a token."""
    (live,) = live_rotations(tiny(num_hidden_layers=2, dtype=torch.float32), 4096)
    expected = 1e4 ** -(torch.arange(0, 16, 2).double() / 16)
    torch.testing.assert_close(live.inv_freq, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(live.size, torch.ones(8).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("spec", ["yarn:factor=4", "linear:factor=2", "llama3:factor=8", "none"])
def test_an_extension_is_what_it_says(spec):
    model = tiny(num_hidden_layers=2)
    with rw.extend(model, spec):
        rw.assert_encoding(model, spec)
        rw.assert_encoding(torch.nn.DataParallel(model), spec)
    if spec != "none":
        with pytest.raises(rw.RopewalkError, match="looks like none"):
            rw.assert_encoding(model, spec)


@pytest.mark.parametrize(
    "spec", ["dynamic_ntk", "rerope:window=12", "yarn:factor=2+log_n", "nope", "alibi"]
)
def test_an_extension_with_attention_of_its_own(spec):
    model = tiny(num_hidden_layers=2)
    with rw.extend(model, spec):
        rw.assert_encoding(model, spec)
        with pytest.raises(rw.RopewalkError, match="is not linear:factor=2"):
            rw.assert_encoding(model, "linear:factor=2")


@pytest.mark.parametrize(("spec", "other"), [("alibi", "nope"), ("nope", "alibi")])
def test_extensions_that_rotate_nothing_are_told_apart(spec, other):
    model = tiny(num_hidden_layers=2)
    with rw.extend(model, spec):
        rw.assert_encoding(model, spec)
        with pytest.raises(rw.RopewalkError, match=f"is not {other}: expected no rotation"):
            rw.assert_encoding(model, other)


MORE = ("rerope:window=12", "log_n", "yarn:factor=2+log_n", "yarn:factor=2+temperature:tau=2")


@pytest.mark.parametrize("spec", MORE)
def test_more_than_a_rotation_is_in_force_under_an_extension_alone(spec):
    """Cosines and sines of a map are those of plain RoPE: their measurement would vouch for a
    training without the method."""
    model = scaled(**YARN | {"factor": 2.0}) if "yarn" in spec else tiny(num_hidden_layers=2)
    with pytest.raises(rw.RopewalkError, match=r"more than a rotation.*extend the model"):
        rw.assert_encoding(model, spec)
    with rw.extend(model, spec):
        rw.assert_encoding(model, spec)
    with pytest.raises(rw.RopewalkError, match="more than a rotation"):
        rw.assert_encoding(model, spec)


def test_what_a_config_scales_beside_the_rotation_is_the_model_s_own():
    """Ministral 3 multiplies its queries by 1 + beta log(1 + floor(m / L0)) in its own code."""
    rope = {**YARN, "rope_theta": 1e4, "llama_4_scaling_beta": 0.3, "mscale": 1.0}
    rope = {**rope, "beta_fast": 32.0, "beta_slow": 1.0, "mscale_all_dim": 1.0}
    rw.assert_encoding(
        tiny("ministral3", num_hidden_layers=2, sliding_window=None, rope_parameters=rope,
             max_position_embeddings=4 * L0),
        "native",
    )  # fmt: skip


@pytest.mark.parametrize(
    "spec", ["dynamic_ntk:policy=at_birth", "dynamic_ntk:policy=at_birth+log_n"]
)
def test_keys_that_settle_at_birth_are_an_extension_s(spec):
    model = tiny(num_hidden_layers=2)
    with rw.extend(model, spec):
        rw.assert_encoding(model, spec)
        with pytest.raises(rw.RopewalkError, match="is not dynamic_ntk:step=8"):
            rw.assert_encoding(model, "dynamic_ntk:step=8")


def test_a_config_that_the_library_follows():
    model = scaled(**YARN)
    rw.assert_encoding(model, "native")
    rw.assert_encoding(model, "yarn:factor=4")
    with pytest.raises(
        rw.RopewalkError, match=r"pair 0 rotates 1 radians a token, 0\.25 asked for"
    ):
        rw.assert_encoding(model, "linear:factor=4")


def test_a_scaling_written_after_loading_is_a_no_op_and_is_told():
    """Soup #793: config.rope_scaling set on a loaded model changes nothing."""
    model = tiny(num_hidden_layers=2)
    model.config.rope_parameters = {"rope_theta": 1e4, **YARN}
    with pytest.raises(rw.RopewalkError, match=r"does not apply yarn:factor=4.*looks like none"):
        rw.assert_encoding(model, "yarn:factor=4")


def test_an_attention_factor_that_is_lost_is_named():
    model = scaled(**YARN)
    model.model.rotary_emb.attention_scaling = 1.0
    with pytest.raises(rw.RopewalkError, match=r"attention factor 1\.0000, 1\.1386 asked for"):
        rw.assert_encoding(model, "yarn:factor=4")


def test_another_tools_patch_is_seen():
    model = tiny(num_hidden_layers=2)
    model.model.rotary_emb.inv_freq /= 4
    rw.assert_encoding(model, "linear:factor=4")
    with pytest.raises(rw.RopewalkError, match="looks like linear:factor=4"):
        rw.assert_encoding(model, "yarn:factor=4")


def test_measuring_leaves_a_dynamic_module_as_it_was():
    model, ids = scaled(rope_type="dynamic", factor=2.0), token_ids(1, 40)
    with torch.no_grad():
        before = model(ids).logits
        rw.assert_encoding(model, "native")
        torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)


def slowed(q, k, cos, sin, unsqueeze_dim=1):
    """A tool's own rotation: positions divided by 4, from cos and sin of the stock module."""
    angles = torch.atan2(sin, cos)
    turned = []
    for x in (q, k):
        pairs = torch.complex(*x.double().chunk(2, dim=-1))
        # The first position of a run is 0; phases are unwrapped along it.
        wave = torch.polar(torch.ones_like(angles), angles)[:, None, :, : pairs.shape[-1]]
        turned.append(rotated_by(pairs, wave).to(x.dtype))
    return tuple(turned)


def rotated_by(pairs, wave):
    found = pairs * wave
    return torch.cat([found.real, found.imag], dim=-1)


def test_a_tool_that_replaces_the_rotation_itself_is_seen(monkeypatch):
    """The rotary module answers as ever; what turns queries is another function."""
    from transformers.models.llama import modeling_llama

    model = tiny(num_hidden_layers=2)
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", lambda q, k, *_: (q, k))
    with pytest.raises(rw.RopewalkError, match="no layer turns its queries"):
        rw.assert_encoding(model, "none")
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", slowed)
    rw.assert_encoding(model, "none")  # the same rotation by another function


def test_a_tool_that_counts_positions_itself_is_seen(monkeypatch):
    """It ignores cos and sin, and rotates at a quarter of each doubling's position."""
    from transformers.models.llama import modeling_llama

    theta = 1e4 ** -(torch.arange(0, 16, 2).double() / 16)
    places = torch.tensor([0, *(2**k for k in range(8))]).double()

    def own(q, k, cos, sin, unsqueeze_dim=1):
        angles = places[: q.shape[2], None] / 4 * theta
        wave = torch.polar(torch.ones_like(angles), angles)
        return tuple(
            rotated_by(torch.complex(*x.double().chunk(2, dim=-1)), wave).to(x.dtype)
            for x in (q, k)
        )

    model = tiny(num_hidden_layers=2)
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", own)
    with pytest.raises(rw.RopewalkError, match=r"attention of .*looks like linear:factor=4"):
        rw.assert_encoding(model, "none")


@pytest.mark.parametrize(
    "family", ["gpt_neox", "hunyuan_v1_dense", "deepseek_v3", "cohere", "nanochat", "gemma3_text"]
)
def test_the_queries_of_each_layout_are_measured(family):
    model = tiny(family, num_hidden_layers=2)
    rw.assert_encoding(model, "native")
    with pytest.raises(rw.RopewalkError, match="looks like"):
        rw.assert_encoding(model, "linear:factor=3")


@pytest.mark.parametrize("family", ["llama", "hunyuan_v1_dense"])
def test_queries_of_half_precision_are_measured(family):
    model = tiny(family, num_hidden_layers=2)
    with rw.extend(model, "yarn:factor=4"):
        rw.assert_encoding(model.to(torch.bfloat16), "yarn:factor=4")
        with pytest.raises(rw.RopewalkError, match="does not apply yarn:factor=2"):
            rw.assert_encoding(model, "yarn:factor=2")
