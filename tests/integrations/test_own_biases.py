"""Models of the library that rotate nothing: what limits them, and biases stretched in place.

Expected logits are the family's own code with the function that makes its bias exchanged.
"""

import copy
import math

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    MptConfig,
    MptForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.bloom import modeling_bloom
from transformers.models.falcon import modeling_falcon
from transformers.models.mpt import modeling_mpt
from transformers.models.t5.modeling_t5 import T5Attention

import ropewalk as rw
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.integrations.own_biases import _Slopes
from ropewalk.integrations.own_positions import own_positions, positions_of_config
from ropewalk.integrations.scoring import TransformersScorer

HEADS = 6  # no power of two: the further slopes lie between the others
ALIBI = {
    "bloom": lambda: BloomForCausalLM(
        BloomConfig(hidden_size=48, n_head=HEADS, n_layer=2, vocab_size=64, seq_length=16)
    ),
    "mpt": lambda: MptForCausalLM(
        MptConfig(d_model=48, n_heads=HEADS, n_layers=2, vocab_size=64, max_seq_len=16)
    ),
    "falcon": lambda: FalconForCausalLM(
        FalconConfig(
            alibi=True, hidden_size=48, num_attention_heads=HEADS, num_hidden_layers=2,
            vocab_size=64, bos_token_id=1, eos_token_id=1,
        )
    ),
}  # fmt: skip
LEARNED = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            n_embd=48, n_head=HEADS, n_layer=2, vocab_size=64, n_positions=16, bos_token_id=1,
            eos_token_id=1,
        )
    ),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            hidden_size=48, num_attention_heads=HEADS, num_hidden_layers=2, vocab_size=64,
            ffn_dim=48, word_embed_proj_dim=48, max_position_embeddings=16,
        )
    ),
}  # fmt: skip
SAME = {"rtol": 0, "atol": 1e-5}


def made(make):
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return model


def token_ids(length=16, batch=2):
    return torch.randint(2, 64, (batch, length), generator=torch.Generator().manual_seed(1))


def slopes_of(heads):
    """Of the released code of ALiBi."""
    power = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    between = [2 ** (-8 * h / (2 * power)) for h in range(1, 2 * power + 1, 2)]
    return torch.tensor([*first, *between][:heads])


def other_slopes(monkeypatch, family, slopes):
    """The family's code with these slopes."""

    def of_mask(attention_mask, num_heads, dtype):
        places = (attention_mask.cumsum(dim=-1) - 1) * attention_mask
        return (slopes[:, None] * places[:, None]).reshape(-1, 1, places.shape[1]).to(dtype)

    def of_length(num_heads, sequence_length, alibi_bias_max=8, device=None):
        return slopes[:, None, None] * torch.arange(1 - sequence_length, 1)

    if family == "bloom":
        monkeypatch.setattr(modeling_bloom, "_get_alibi_slopes", lambda heads, device: slopes)
    elif family == "mpt":
        monkeypatch.setattr(modeling_mpt, "build_mpt_alibi_tensor", of_length)
    else:
        monkeypatch.setattr(modeling_falcon, "build_alibi_tensor", of_mask)


def ntk(slopes, factor):
    """m_h = a_h / factor^(t_h), t_h from 0 at the steepest to 1 at the flattest."""
    steep, flat = slopes.max().log(), slopes.min().log()
    return slopes * factor ** -((steep - slopes.log()) / (steep - flat))


CHANGED = {"linear:factor=4": lambda a: a / 4, "ntk_aware:factor=4": lambda a: ntk(a, 4)}


@pytest.mark.parametrize("spec", CHANGED)
@pytest.mark.parametrize("family", ALIBI)
@torch.no_grad()
def test_slopes_are_those_of_the_method(family, spec, monkeypatch):
    model, ids = made(ALIBI[family]), token_ids()
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    stock = model(ids, attention_mask=mask).logits
    with rw.extend(model, spec) as extension:
        inside = model(ids, attention_mask=mask).logits
        assert extension.describe()["layers_changed"] == 2
    assert torch.equal(model(ids, attention_mask=mask).logits, stock)
    other_slopes(monkeypatch, family, CHANGED[spec](slopes_of(HEADS)))
    expected = model(ids, attention_mask=mask).logits
    assert_close(inside[0], expected[0], **SAME)
    assert_close(inside[1, 5:], expected[1, 5:], **SAME)
    assert (expected - stock)[0].abs().max() > 1e-3


@pytest.mark.parametrize("family", ALIBI)
@torch.no_grad()
def test_a_full_pass_is_what_decoding_computes_past_the_trained_length(family):
    model, ids = made(ALIBI[family]), token_ids(40)
    with rw.extend(model, "linear:factor=2"):
        full, cache, found = model(ids).logits, None, []
        for start, stop in [(0, 20), (20, 21), (21, 40)]:
            out = model(ids[:, start:stop], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            found.append(out.logits)
    assert_close(torch.cat(found, dim=1), full, **SAME)


@torch.no_grad()
def test_mpt_reads_past_the_length_of_its_config():
    model, ids = made(ALIBI["mpt"]), token_ids(40)
    with pytest.raises(RuntimeError):
        model(ids)
    longer = MptForCausalLM(
        MptConfig(d_model=48, n_heads=HEADS, n_layers=2, vocab_size=64, max_seq_len=40)
    ).eval()
    longer.load_state_dict(model.state_dict())
    with rw.extend(model, "native"):
        assert_close(model(ids).logits, longer(ids).logits, **SAME)


@torch.no_grad()
def test_falcon_counts_its_bias_twice_in_eager_attention():
    """transformers 5.23: the mask holds the bias, and eager attention adds it again."""
    model, ids = made(ALIBI["falcon"]), token_ids()
    config = copy.deepcopy(model.config)
    eager = FalconForCausalLM._from_config(config, attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    with pytest.raises(RopewalkError, match="twice"):
        rw.extend(eager, "linear:factor=2")
    once, twice = model(ids).logits, eager(ids).logits
    assert (twice - once).abs().max() > 1e-3
    doubled = _Slopes(argument="alibi", before=torch.ones(HEADS), after=2 * torch.ones(HEADS))
    for layer in model.transformer.h:
        layer.register_forward_pre_hook(doubled, with_kwargs=True)
    assert_close(model(ids).logits, twice, **SAME)


def t5(**changed):
    config = T5Config(
        d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4, vocab_size=64,
        relative_attention_num_buckets=8, decoder_start_token_id=0,
        **{"relative_attention_max_distance": 16, **changed},
    )  # fmt: skip
    return T5ForConditionalGeneration(config).eval()


@torch.no_grad()
def test_t5_reads_farther_buckets(monkeypatch):
    model, ids = made(t5), token_ids(40)
    stock = model(input_ids=ids, decoder_input_ids=ids).logits
    with rw.extend(model, "ntk_aware:factor=4"):
        inside = model(input_ids=ids, decoder_input_ids=ids).logits
    farther = t5(relative_attention_max_distance=64)
    farther.load_state_dict(model.state_dict())
    assert_close(inside, farther(input_ids=ids, decoder_input_ids=ids).logits, **SAME)
    assert (inside - stock).abs().max() > 1e-3
    with rw.extend(model, "linear:factor=4"):
        divided = model(input_ids=ids, decoder_input_ids=ids).logits
    own = T5Attention._relative_position_bucket

    def bucket(relative_position, **given):
        steps = relative_position.abs().floor_divide(4) * relative_position.sign()
        return own(steps, **given)

    monkeypatch.setattr(T5Attention, "_relative_position_bucket", staticmethod(bucket))
    assert_close(model(input_ids=ids, decoder_input_ids=ids).logits, divided, **SAME)


@pytest.mark.parametrize("family", LEARNED)
@torch.no_grad()
def test_a_learned_table_ends_where_it_ends(family):
    model, ids = made(LEARNED[family]), token_ids(20)
    with pytest.raises(RopewalkError, match="table of 16 positions"):
        rw.extend(model, "linear:factor=4")
    before = model(ids[:, :16]).logits
    with rw.extend(model, "native"):
        assert torch.equal(model(ids[:, :16]).logits, before)
        with pytest.raises(RopewalkError, match="20 tokens in a model"):
            model(ids)


@pytest.mark.parametrize("family", [*ALIBI, *LEARNED])
def test_losses_are_those_of_the_family_itself(family):
    model, ids = made({**ALIBI, **LEARNED}[family]), token_ids()
    with rw.extend(model, "native"):
        losses = TransformersScorer(model).token_losses(ids, 4, FullPass())
    with torch.no_grad():
        logits = model(ids).logits[:, 3:-1].transpose(1, 2)
    expected = functional.cross_entropy(logits.double(), ids[:, 4:], reduction="none")
    assert_close(losses.double(), expected, **SAME)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("rerope:window=8", "for each distance"), ("log_n", "logits"), ("yarn:factor=2", "nothing")],
)
def test_what_the_code_of_a_family_cannot_take_is_refused(spec, said):
    with pytest.raises(RopewalkError, match=said):
        rw.extend(made(ALIBI["bloom"]), spec)


@pytest.mark.parametrize(
    ("make", "kind", "last"),
    [
        (ALIBI["bloom"], "alibi", None),
        (ALIBI["mpt"], "alibi", 16),
        (ALIBI["falcon"], "alibi", None),
        (LEARNED["gpt2"], "learned", 16),
        (LEARNED["opt"], "learned", 16),
        (t5, "t5_bias", None),
    ],
)
def test_what_limits_a_model_is_said_of_its_config_alone(make, kind, last):
    model = made(make)
    found = positions_of_config(model.config.to_dict())
    assert {each.kind for each in found} == {kind}
    assert found[0].last_length == last
    assert found == own_positions(model)
    said = rw.inspect(model.config.to_dict())
    assert said["rotates"] is False
    assert [each["kind"] for each in said["positions"]] == [each.kind for each in found]


def test_a_model_that_rotates_has_none_of_these():
    config = LlamaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=64, intermediate_size=8)
    assert positions_of_config(config.to_dict()) == []
    falcon = FalconConfig(alibi=False, hidden_size=48, num_hidden_layers=1, vocab_size=64)
    assert positions_of_config(falcon.to_dict()) == []
