"""A trained decoder before the commands that read a config, and its biases under methods."""

import json

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.inputs.sinusoidal import Sinusoidal
from ropewalk.training.decoder import Decoder, register
from ropewalk.training.decoder_config import DecoderConfig
from ropewalk.training.trainer import Matrices, causal_loss, fast_dtype

L0 = 16


@pytest.fixture(autouse=True)
def known_to_the_library():
    """As in a process that opened a checkpoint: a config is read alike before and after."""
    register()


def config(*specs, **shape):
    return DecoderConfig(
        vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=L0,
        encodings=list(specs), **shape,
    )  # fmt: skip


def decoder(*specs, **shape):
    torch.manual_seed(3)
    model = Decoder(config(*specs, **shape)).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name:
                parameter.mul_(8)
    return model


def token_ids(length=40):
    return torch.randint(0, 64, (2, length), generator=torch.Generator().manual_seed(1))


def test_layers_that_slide_and_layers_without_positions_are_told_apart():
    found = rw.inspect(config("none", "nope", windows=[8, None]).to_dict())
    assert found["rotates"]
    assert found["rotary_dim"] == 8
    told = [(row["attention"], row["window"], row["rotates"]) for row in found["layers"]]
    assert told == [("sliding", 8, True), ("full", None, False)]
    assert [each["kind"] for each in found["positions"]] == ["none", "nope"]


def test_a_share_of_the_channels_rotates():
    found = rw.inspect(config("none", partial_rotary_factor=0.5).to_dict())
    assert (found["head_dim"], found["rotary_dim"]) == (8, 4)
    wide, narrow = decoder("none"), decoder("none", partial_rotary_factor=0.5)
    with torch.no_grad():
        assert (wide(token_ids()).logits - narrow(token_ids()).logits).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("spec", "methods"),
    [("alibi", ["linear", "ntk_aware", "rerope"]), ("t5_bias", ["linear", "ntk_aware"]),
     ("kerple", []), ("learned", [])],
)  # fmt: skip
def test_what_a_decoder_was_trained_with_and_what_stretches_it(spec, methods):
    found = rw.inspect(config(spec).to_dict())
    assert not found["rotates"]
    (positions,) = found["positions"]
    assert (positions["kind"], positions["methods"]) == (spec, methods)
    assert positions["last_length"] == (L0 if spec == "learned" else None)
    plan = rw.plan(config(spec).to_dict(), 64)
    assert plan["recommended"] == {"extend": None, "serve": None}


def test_a_rotation_that_no_rope_field_says_is_refused():
    with pytest.raises(RopewalkError, match="xpos"):
        rw.inspect(config("xpos").to_dict())


def biased(model, ids):
    with torch.no_grad():
        return model(ids).logits


@pytest.mark.parametrize(
    ("spec", "same_as"),
    [
        ("linear:factor=4", lambda d: d / 4),
        ("rerope:window=5", lambda d: d.clamp(max=5)),
    ],
)
def test_alibi_is_shown_the_distances_of_the_method(spec, same_as, monkeypatch):
    model, ids = decoder("alibi"), token_ids()
    own = biased(model, ids)
    with rw.extend(model, spec):
        inside = biased(model, ids)
    slopes = torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8], dtype=torch.float64)

    def bias(self, heads, rows, keys):
        distances = same_as((rows - keys).abs().double())
        return -slopes.view(-1, *[1] * distances.ndim) * distances

    monkeypatch.setattr("ropewalk.scores.alibi.ALiBi.bias", bias)
    assert_close(inside, biased(model, ids), rtol=0, atol=1e-9)
    assert (inside - own).abs().max() > 1e-3


def test_ntk_keeps_the_steepest_slope_and_divides_the_flattest():
    with rw.extend(decoder("alibi"), "ntk_aware:factor=8") as extension:
        encoding = extension.wanted["layer 0"]
    here, far = torch.tensor([[0]]), torch.tensor([[-1]])
    slopes = -encoding.bias(4, here, far)[:, 0, 0]
    expected = [2.0 ** -(2 * h) / 8 ** ((h - 1) / 3) for h in range(1, 5)]
    assert_close(slopes, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_t5_is_shown_divided_distances_or_farther_buckets():
    for spec, changed in (
        ("linear:factor=2", {"factor": 2.0}),
        ("ntk_aware:factor=4", {"max_distance": 512}),
    ):
        with rw.extend(decoder("t5_bias"), spec) as extension:
            (bias,) = extension.wanted["layer 0"].learned
        assert {name: getattr(bias, name) for name in changed} == changed
    # Of 8 buckets 4 are exact; up to 16 the others are 4 ln(D / 4) / ln 4 above them.
    halved = type(bias)(buckets=8, max_distance=16, factor=2.0)
    assert halved.bucket(torch.tensor([0, 1, 2, 7, 8, 16, 24, 99])).tolist() == [
        0, 0, 1, 3, 4, 6, 7, 7,
    ]  # fmt: skip


def test_sinusoids_stand_beside_embeddings_of_their_size():
    """Vaswani et al., section 3.4: embeddings are multiplied by the square root of the width."""
    model, ids = decoder("sinusoidal"), token_ids(5)
    embedded = model.model._embedded(ids, 0, None)
    table = Sinusoidal().added({}, torch.arange(5), 32)
    expected = model.model.embed_tokens.weight[ids] * 32**0.5 + table
    assert_close(embedded, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": False}, torch.float32),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_bfloat16_trains_where_the_machine_has_its_products(has, expected, monkeypatch):
    """With AVX-512 alone oneDNN would emulate them, four times slower than float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fast_dtype() == expected


def test_a_loss_without_autocast_is_plain_cross_entropy():
    model, ids = decoder("none").float(), token_ids()
    logits = model(ids[:, :-1]).logits
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert_close(causal_loss(model, torch.float32)(ids), plain, rtol=1e-6, atol=0)
    assert causal_loss(model)(ids).item() != plain.item()


def test_a_share_of_channels_is_asked_for_on_the_command_line(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("The ropewalk is long. " * 99)
    out = str(tmp_path / "run")
    size = [
        "--decoder",
        "layers=1,width=32,heads=2,partial_rotary_factor=0.25",
        "--length",
        "16",
        "--batch",
        "1",
    ]
    options = [*size, "--steps", "1", "--text", str(text), "--out", out, "--json"]
    assert main(["train", "--encoding", "none", *options]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert main(["inspect", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rotary_dim"] == 4


def test_adamw_alone_updates_everything():
    from ropewalk.training.corpus import Windows
    from ropewalk.training.schedule import WarmupStableDecay
    from ropewalk.training.trainer import Recipe, _optimizers

    model = decoder("t5_bias").float()
    recipe = Recipe(
        windows=Windows(length=8, batch_size=2),
        schedule=WarmupStableDecay(total_steps=4),
        matrices=Matrices.ADAMW,
    )
    (adamw,) = _optimizers(model, recipe)
    held = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
