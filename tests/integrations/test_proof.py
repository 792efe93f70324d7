"""What an installation is measured and proven on, and what it refuses by name."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import LlamaAttention

import ropewalk as rw
from readings import encoding_from_config
from recipes.families.sharpened import L0, MORE_FAMILIES, logits, tiny, token_ids
from ropewalk.integrations.layout import measure_layout
from ropewalk.integrations.probe import answer, probe_ids
from ropewalk.integrations.rotary import RealTable, UnrotatedRotary, concatenated

SAME = {"rtol": 0, "atol": 1e-9}
BOTH_SEAMS = pytest.mark.parametrize("spec", ["yarn:factor=2.5", "dynamic_ntk", "rerope:window=12"])


def small(name="llama", **settings):
    return tiny(name, **{"num_hidden_layers": 2, **settings})


def layout_of(model):
    return measure_layout(model, lambda kind: encoding_from_config(model.config.to_dict(), kind))


# Far positions.


def with_positions(model, change):
    """The model, whose rotary module sees ``change(position_ids)`` in place of position_ids."""
    rotary = model.model.rotary_emb
    stock = rotary.forward
    rotary.forward = lambda x, position_ids: stock(x, change(position_ids))
    return model


@BOTH_SEAMS
@pytest.mark.parametrize(
    "change",
    [
        lambda positions: positions.clamp(max=L0 + 4),
        lambda positions: torch.where(positions < 3 * L0, positions, positions // 2),
    ],
    ids=["a bound just past the trained length", "another scale far beyond it"],
)
def test_a_family_that_treats_far_positions_otherwise_is_refused(spec, change):
    model = with_positions(small(), change)
    near = logits(model, probe_ids(model))
    assert_close(near, logits(small(), probe_ids(model)), **SAME)
    with pytest.raises(rw.RopewalkError, match=r"llama is not supported: .* at position \d+ by"):
        rw.extend(model, spec)


def test_a_family_whose_table_ends_is_refused():
    table = torch.arange(L0 + 4)
    model = with_positions(small(), lambda positions: table[positions])
    with pytest.raises(rw.RopewalkError, match=r"does not run on a few tokens at position \d+"):
        rw.extend(model, "yarn:factor=2.5")


@BOTH_SEAMS
@pytest.mark.parametrize("rope_type", ["dynamic", "linear"])
def test_a_scaling_of_the_library_passes_far_away(spec, rope_type):
    model = small(rope_parameters={"rope_type": rope_type, "rope_theta": 1e4, "factor": 2.0})
    with rw.extend(model, spec) as extension:
        assert extension.describe()["layers_changed"] == 2


def test_the_proof_leaves_the_library_s_memory_alone():
    """A rotary module of type dynamic remembers the longest call: that is its owner's."""
    model = small(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    logits(model, token_ids(1, 70))
    rotary = model.model.rotary_emb
    before = rotary.inv_freq.clone(), copy.copy(rotary.max_seq_len_cached)
    for spec in ("native", "dynamic_ntk"):
        rw.extend(model, spec).remove()
        assert model.model.rotary_emb is rotary
        assert torch.equal(rotary.inv_freq, before[0])
        assert rotary.max_seq_len_cached == before[1]


def test_what_goes_wrong_in_a_family_s_code_is_a_refusal_by_name():
    model = small()

    def fail(module, args):
        raise KeyError("pixel_values")

    model.model.layers[0].register_forward_pre_hook(fail)
    with pytest.raises(rw.RopewalkError, match=r"^llama is not supported: .*pixel_values") as error:
        answer(model, probe_ids(model))
    assert "\n" not in str(error.value)


# Who computes with cos and sin.


class Indexer(nn.Module):
    """Picks keys, as sparse attentions do, by products that it turns itself."""

    def __init__(self, used):
        super().__init__()
        self.used = used

    def forward(self, position_embeddings):
        cos, _ = position_embeddings
        return cos.shape if not self.used else cos * 2.0


class IndexedAttention(LlamaAttention):
    def forward(self, hidden_states, position_embeddings, **inputs):
        self.indexer(position_embeddings)
        return super().forward(hidden_states, position_embeddings, **inputs)


def indexed(used):
    model = small()
    for layer in model.model.layers:
        layer.self_attn.__class__ = IndexedAttention
        layer.self_attn.indexer = Indexer(used)
    return model


def test_another_reader_of_the_rotary_module_is_refused_where_it_would_see_no_positions():
    model = indexed(used=True)
    assert layout_of(model).other_readers == tuple(
        f"model.layers.{layer}.self_attn.indexer" for layer in range(2)
    )
    with rw.extend(model, "yarn:factor=2.5"):
        logits(model, token_ids(1, 8))
    for spec in ("dynamic_ntk", "rerope:window=12"):
        with pytest.raises(rw.RopewalkError, match=r"self_attn\.indexer reads positions"):
            rw.extend(model, spec)


def test_being_handed_the_answer_is_no_reading():
    assert layout_of(indexed(used=False)).other_readers == ()


@pytest.mark.parametrize("name", ["gemma3_text", "llama4_text", "deepseek_v3", "persimmon"])
def test_attention_is_no_other_reader(name):
    assert name in MORE_FAMILIES
    assert layout_of(tiny(name)).other_readers == ()


# Layouts.


def test_keys_that_settle_at_birth_need_one_rotation_for_all_layers():
    """Gemma 3 has two bases. One rotary module of ours could only have one of them."""
    model = tiny("gemma3_text wide")
    with pytest.raises(rw.RopewalkError, match="whose layers need different encodings"):
        rw.extend(model, "dynamic_ntk:policy=at_birth")


def test_a_rotary_module_in_a_list_is_told_of_padding():
    model = small()
    listed = model.model.rotary_embs = nn.ModuleList([model.model.rotary_emb])
    del model.model.rotary_emb

    def first_of_the_list(*args, **inputs):
        return listed[0](*args, **inputs)

    model.model.rotary_emb = first_of_the_list
    (rotary,) = layout_of(model).rotaries
    assert rotary.parent is listed
    assert rotary.decoder is model.model


# Positions that a family keeps from its attention.

PACKED = (13, 37)


def test_packed_sequences_of_a_family_whose_attention_is_given_no_positions():
    """Persimmon hands its attention no position_ids: they are those that its rotary module saw."""
    model, ids = tiny("persimmon"), token_ids(1, sum(PACKED))
    positions = torch.cat([torch.arange(n) for n in PACKED])[None]
    first, second = ids.split(PACKED, dim=1)
    for spec in ("dynamic_ntk", "rerope:window=12"):
        with rw.extend(model, spec):
            packed = logits(model, ids, position_ids=positions, use_cache=False)
            assert_close(packed[:, :13], logits(model, first), **SAME)
            assert_close(packed[:, 13:], logits(model, second), **SAME)
    with (
        rw.extend(model, "dynamic_ntk:policy=at_birth"),
        pytest.raises(rw.RopewalkError, match="policy=per_query"),
    ):
        logits(model, ids, position_ids=positions, use_cache=False)


def test_positions_along_several_axes_are_text_where_they_agree():
    rotary = UnrotatedRotary(
        RealTable(spread=concatenated, width=16), torch.nn.Identity(), config=None
    )
    x, positions = torch.zeros(2, 5, 64), torch.arange(5).expand(2, 5)
    cos, sin = rotary(x, positions.expand(3, 2, 5))
    assert cos.shape == sin.shape == (2, 5, 16)
    image = torch.stack([positions, positions // 2, positions % 2])
    with pytest.raises(rw.RopewalkError, match="as those of an image: expected text alone"):
        rotary(x, image)


# Phi-3 drops its cache where its own rope would change.


@BOTH_SEAMS
def test_a_cache_that_the_family_drops_changes_nothing(spec):
    model = small("phi3", original_max_position_embeddings=L0)
    ids, calls = token_ids(1, L0 - 4), []
    expected = ids
    with rw.extend(model, spec):
        for _ in range(10):
            expected = torch.cat([expected, logits(model, expected)[:, -1:].argmax(-1)], dim=1)
        handle = model.model.register_forward_pre_hook(
            lambda module, args, inputs: calls.append(inputs["input_ids"].shape[1]),
            with_kwargs=True,
        )
        out = model.generate(ids, max_new_tokens=10, do_sample=False)
        handle.remove()
    assert torch.equal(out, expected)
    assert calls == [L0 - 4, 1, 1, 1, 1, L0 + 1, 1, 1, 1, 1]
