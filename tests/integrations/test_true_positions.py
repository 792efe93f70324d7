"""Un-rotated keys stay at the positions that they were given, or their cache is refused."""

import copy
from inspect import signature
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache

import ropewalk as rw
from in_use import EXACT, LONG, SEAMS, SPECS, UNCHANGED, full, in_parts, small
from recipes.families.sharpened import logits, token_ids
from ropewalk.integrations.call import call_mask
from ropewalk.integrations.forward_arguments import ForwardArguments


@UNCHANGED
def test_positions_that_jump_after_a_prefill(spec):
    """Counted on from the cache, they were 3.2 logits off."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 34)
    parts = (ids[:, :30], None), (ids[:, 30:], torch.arange(90, 94)[None])
    stock, _ = in_parts(model, *parts)
    with rw.extend(model, spec):
        assert_close(in_parts(model, *parts)[0], stock, rtol=0, atol=2e-4)


@UNCHANGED
def test_given_positions_stay_with_their_keys(spec):
    """A prefill that starts at 50 and leaps, then tokens that go on from there."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 34)
    first = torch.cat([torch.arange(50, 60), torch.arange(100, 120)])[None]
    parts = [(ids[:, :30], first)]
    parts += [(ids[:, n : n + 1], torch.tensor([[90 + n]])) for n in range(30, 34)]
    stock, _ = in_parts(model, *parts)
    with rw.extend(model, spec):
        assert_close(in_parts(model, *parts)[0], stock, rtol=0, atol=2e-4)


def kept(cache, keys):
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[:, :, keys], layer.values[:, :, keys]


@pytest.mark.parametrize(
    "keys", [[*range(4), *range(20, 40)], slice(4, None)], ids=["some", "last"]
)
def test_evicted_keys_are_noticed(keys):
    """SnapKV, StreamingLLM: those that are left would move together."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 41)
    with rw.extend(model, "dynamic_ntk"):
        _, cache = in_parts(model, (ids[:, :40], None))
        kept(cache, keys)
        with pytest.raises(rw.RopewalkError, match="from which keys were taken"):
            in_parts(model, (ids[:, 40:], torch.tensor([[40]])), cache=cache)


def test_one_layer_that_lost_keys_is_noticed():
    """A budget for each layer: the first one still holds all."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 41)
    with rw.extend(model, "dynamic_ntk"):
        _, cache = in_parts(model, (ids[:, :40], None))
        layer = cache.layers[1]
        layer.keys, layer.values = layer.keys[:, :, 4:], layer.values[:, :, 4:]
        with pytest.raises(rw.RopewalkError, match="from which keys were taken"):
            in_parts(model, (ids[:, 40:], None), cache=cache)


@pytest.mark.parametrize("layers", [(0, 1), (1,)], ids=["all", "one"])
def test_keys_evicted_by_a_hook_of_the_pass_are_noticed(layers):
    """As kvpress does: each layer's cache is pruned before the pass that filled it ends."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 41)

    def prune(module, args, kwargs, out):
        layer = kwargs["past_key_values"].layers[module.layer_idx]
        layer.keys, layer.values = layer.keys[:, :, ::2], layer.values[:, :, ::2]

    attention = [model.model.layers[number].self_attn for number in layers]
    with rw.extend(model, "dynamic_ntk"):
        hooks = [each.register_forward_hook(prune, with_kwargs=True) for each in attention]
        _, cache = in_parts(model, (ids[:, :40], None))
        for hook in hooks:
            hook.remove()
        with pytest.raises(rw.RopewalkError, match="from which keys were taken"):
            in_parts(model, (ids[:, 40:], torch.tensor([[40]])), cache=cache)


CHANGES = {
    "reorder": (lambda cache: cache.reorder_cache(torch.tensor([1, 0])), [1, 0]),
    "select": (lambda cache: cache.batch_select_indices(torch.tensor([1])), [1]),
    "repeat": (lambda cache: cache.batch_repeat_interleave(2), [0, 0, 1, 1]),
}


@pytest.mark.parametrize(("change", "static"), [*((c, False) for c in CHANGES), ("reorder", True)])
@pytest.mark.parametrize("spec", SPECS[1:])
def test_given_positions_follow_sequences_that_change_places(spec, change, static):
    """Beams are chosen and batches cut between two passes."""
    model, ids = small(), token_ids(2, 40)
    places = torch.arange(40) + torch.tensor([[0], [25]])
    moved, rows = CHANGES[change]
    with rw.extend(model, spec):
        cache = StaticCache(config=model.config, max_cache_len=64) if static else None
        _, cache = in_parts(model, (ids[:, :36], places[:, :36]), cache=cache)
        moved(cache)
        found, _ = in_parts(model, (ids[rows, 36:], places[rows, 36:]), cache=cache)
        expected, _ = in_parts(model, (ids[:, :36], places[:, :36]), (ids[:, 36:], places[:, 36:]))
    assert_close(found, expected[rows, 36:], **EXACT)


def test_sequences_that_cannot_be_told_apart_are_refused():
    """One text twice, at other positions: their first layer's keys are the same."""
    model, ids = small(), token_ids(1, 40).expand(2, -1)
    places = torch.arange(40) + torch.tensor([[0], [25]])
    with rw.extend(model, "dynamic_ntk"):
        _, cache = in_parts(model, (ids[:, :36], places[:, :36]))
        cache.reorder_cache(torch.tensor([1, 0]))
        with pytest.raises(rw.RopewalkError, match="no known positions"):
            in_parts(model, (ids[:, 36:], places[:, 36:]), cache=cache)


def test_a_mask_lies_where_the_model_does():
    """Not on the default device, which may be another."""
    with torch.device("meta"):
        mask = call_mask(
            batch_size=2, q_length=5, kv_length=8, q_offset=3, mask_function=None, device="cpu"
        )
    assert mask.device == mask.call.rows.query_positions.device == torch.device("cpu")


def test_the_rotary_seam_needs_no_record():
    """Its keys carry their rotation; what the library computes after an eviction stays."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 41)
    found = []
    for spec in (None, "native"):
        extension = None if spec is None else rw.extend(model, spec)
        _, cache = in_parts(model, (ids[:, :40], None))
        kept(cache, [*range(4), *range(20, 40)])
        found.append(in_parts(model, (ids[:, 40:], torch.tensor([[40]])), cache=cache)[0])
        if extension is not None:
            extension.remove()
    assert_close(found[1], found[0], **EXACT)


def test_a_cache_of_the_model_itself_is_not_read():
    """Its keys are rotated already."""
    model, ids = small(), token_ids(1, 41)
    _, cache = in_parts(model, (ids[:, :40], None))
    with (
        rw.extend(model, "dynamic_ntk"),
        pytest.raises(rw.RopewalkError, match="this extension did not fill"),
    ):
        in_parts(model, (ids[:, 40:], None), cache=cache)


def test_a_cache_of_unrotated_keys_is_not_read_by_a_rotary_module():
    """Nobody would rotate them."""
    model, ids = small(), token_ids(1, 41)
    with rw.extend(model, "dynamic_ntk"):
        _, cache = in_parts(model, (ids[:, :40], None))
    with (
        rw.extend(model, "yarn:factor=2"),
        pytest.raises(rw.RopewalkError, match="un-rotated keys"),
    ):
        in_parts(model, (ids[:, 40:], None), cache=cache)


@SEAMS
def test_a_cropped_or_copied_cache_is_read_on(spec):
    """Assisted generation crops, branches of a prompt copy."""
    model, ids, other = small(), token_ids(1, 44), token_ids(1, 44, seed=1)
    with rw.extend(model, spec):
        _, cache = in_parts(model, (ids[:, :40], None))
        branch = copy.deepcopy(cache)
        branch.crop(-4)
        mixed = torch.cat([ids[:, :36], other[:, 36:40]], dim=1)
        found, _ = in_parts(model, (mixed[:, 36:], None), cache=branch)
        again, _ = in_parts(model, (ids[:, 40:], None), cache=cache)
        if "at_birth" not in spec:
            assert_close(found, full(model, mixed)[:, 36:], **EXACT)
            assert_close(again, full(model, ids)[:, 40:], **EXACT)
        assert found.isfinite().all()


@UNCHANGED
def test_given_positions_beside_a_mask_are_followed(spec):
    """PoSE: positions that leap, in a batch padded on the right."""
    model, ids = small(max_position_embeddings=LONG), token_ids(2, 20)
    mask = torch.ones_like(ids)
    mask[0, 15:] = 0
    positions = torch.cat([torch.arange(10), torch.arange(100, 110)]).expand(2, -1)
    stock = full(model, ids, attention_mask=mask, position_ids=positions)
    with rw.extend(model, spec):
        found = full(model, ids, attention_mask=mask, position_ids=positions)
    assert_close(found[mask.bool()], stock[mask.bool()], rtol=0, atol=2e-4)


@pytest.mark.parametrize("spec", ["native", "dynamic_ntk"])
def test_packed_rows_beside_a_mask_are_refused(spec):
    """The library masks them apart only without a mask, so sequences would see each other."""
    model, ids = small(), token_ids(1, 20)
    positions = torch.cat([torch.arange(10), torch.arange(10)])[None]
    mask = torch.ones_like(ids)
    mask[0, 18:] = 0
    with rw.extend(model, spec), pytest.raises(rw.RopewalkError, match="start again"):
        full(model, ids, attention_mask=mask, position_ids=positions)


class Flash(torch.nn.Module):
    """A decoder on flash attention, which is not to be had on a CPU."""

    config = SimpleNamespace(_attn_implementation="flash_attention_2", use_cache=True)

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None):
        return None


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ({}, True),
        ({"past_key_values": DynamicCache()}, True),
        ({"attention_mask": torch.ones(1, 20)}, False),
        ({"rows": 2}, False),
        ({"rows": 2, "cu_seq_lens_q": torch.tensor([0, 10, 20])}, True),
    ],
)
def test_flash_attention_reads_one_packed_row_by_its_positions(given, masked):
    """The library's rule, `_is_packed_sequence`: no mask, one row; a cache that is made changes
    nothing."""
    places = torch.cat([torch.arange(10), torch.arange(10)])[None].expand(given.pop("rows", 1), -1)
    decoder = Flash()
    accepted = tuple(signature(decoder.forward).parameters)
    named = {"input_ids": places, "position_ids": places, **given}
    assert ForwardArguments.of(decoder, accepted, (), named).packing_masked == masked


@SEAMS
def test_negative_positions_are_refused(spec):
    """Maps were 3.6 logits off, and log-n was no number."""
    model = small()
    with rw.extend(model, spec), pytest.raises(rw.RopewalkError, match="expected 0 or more"):
        full(model, position_ids=torch.arange(-3, 41)[None])


@SEAMS
def test_a_mask_of_fixed_size_over_a_static_cache(spec):
    """As serving code makes it once: as long as the cache, whatever it holds."""
    model, ids = small(), token_ids(1, 40)
    mask = torch.zeros(1, 64, dtype=torch.long)
    mask[:, 5:40] = 1
    with rw.extend(model, spec):
        cache = StaticCache(config=model.config, max_cache_len=64)
        found = logits(model, ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        assert_close(found[:, 5:], full(model, ids[:, 5:]), **EXACT)
