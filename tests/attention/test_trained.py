"""Attention under encodings with parameters is the oracle; what such an encoding is."""

import math
from dataclasses import replace

import pytest
import torch
from tile_cases import cut_by
from torch.testing import assert_close
from trained_encodings import DIM, HEADS, L0, built, in_blocks, in_pieces, inputs, learned

from attention_inputs import Growing, PaddedSliding, trained
from ropewalk.attention import diagonals, tiled
from ropewalk.attention.call import Call
from ropewalk.attention.distances import DistanceBias
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.tiled import attend
from ropewalk.attention.tiles import Sizes
from ropewalk.core.encoding import ValueRotation
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rows import CausalRows
from ropewalk.core.score_mods import Block

SAME = {"rtol": 0, "atol": 1e-10}


SPECS = (
    "nope",
    "alibi",
    "alibi:slopes=geometric+yarn:factor=4",
    "alibi+log_n",
    "t5_bias:relative_attention_num_buckets=6,relative_attention_max_distance=8",
    "t5_bias:direction=bidirectional",
    "kerple",
    "kerple:kernel=power",
    "fire:threshold=5,units=7",
    "fox",
    "fox+none",
    "inkling:rel_extent=5,d_rel=3,log_scaling_n_floor=4",
    "shaw:max_relative_position=3",
    "shaw:max_relative_position=3,tables=keys+none",
    "t5_bias+fox+temperature:tau=1.5",
    "xpos:scale_base=4",
    "xpos:scale_base=4+kerple",
    "rope_values",
    "rope_values:output=kept+linear:factor=2",
    "rope_values+shaw:max_relative_position=2+alibi",
)


each_encoding = pytest.mark.parametrize("spec", SPECS)


both_ways = pytest.mark.parametrize("way", [in_pieces, in_blocks])


# Attention is the oracle, whole, in chunks, token by token, and padded.


@both_ways
@each_encoding
@pytest.mark.parametrize("queries", [1, 4, 9, 13])
def test_attention_is_the_oracle(way, spec, queries):
    q, k, v = inputs(queries=queries)
    parameters = learned(spec, queries=queries)
    oracle = attend_reference(q, k, v, built(spec), parameters=parameters)
    assert_close(way(q, k, v, built(spec), parameters=parameters), oracle, **SAME)


@both_ways
@each_encoding
def test_attention_is_the_oracle_under_a_sliding_window_and_padding(way, spec):
    q, k, v = inputs()
    rows, parameters = PaddedSliding.of([0, 3], 9, 13, 6), learned(spec)
    actual = way(q, k, v, built(spec), rows=rows, parameters=parameters)
    oracle = attend_reference(q, k, v, built(spec), rows=rows, parameters=parameters)
    assert_close(actual, oracle, **SAME)


@both_ways
@each_encoding
def test_padding_is_as_if_it_were_not_there(way, spec):
    q, k, v = inputs(queries=13)
    whole = trained(built(spec), HEADS, 13, 13, batch=2, head_dim=DIM)
    alone = {name: one_sequence(name, each) for name, each in whole.items()}
    rows = PaddedSliding.of([0, 4], 13, 13, window=100)
    padded = way(q, k, v, built(spec), rows=rows, parameters=whole)
    expected = way(q[1:, :, 4:], k[1:, :, 4:], v[1:, :, 4:], built(spec), parameters=alone)
    assert_close(padded[1:, :, 4:], expected, **SAME)


def one_sequence(name, each):
    """The second sequence without its four slots of padding, of what tokens carry."""
    return each[1:, 4:] if name in ("fox_forget", "inkling_relative") else each


@each_encoding
@pytest.mark.parametrize("sizes", [[1] * 13, [5, 1, 7], [12, 1]])
def test_chunks_are_the_full_pass(spec, sizes):
    """With a memory of the tokens before, any chunk gives what the full pass gives."""
    q, k, v = inputs(queries=13)
    parameters = trained(built(spec), HEADS, 13, 13, batch=2, head_dim=DIM)
    full = in_pieces(q, k, v, built(spec), parameters=parameters)
    start, parts = 0, []
    for stop in torch.tensor(sizes).cumsum(0).tolist():
        own = dict(parameters)
        if "fox_forget" in own:
            own["fox_forget"] = own["fox_forget"][:, :stop]
        if "inkling_relative" in own:
            own["inkling_relative"] = own["inkling_relative"][:, start:stop]
        call = (q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop], built(spec))
        parts.append(in_pieces(*call, parameters=own))
        start = stop
    assert_close(torch.cat(parts, dim=2), full, **SAME)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if built(spec).trained])
def test_gradients_of_parameters_are_finite_differences(spec):
    q, k, v = inputs(batch=1)
    own = learned(spec, batch=1)
    # Kinks: clamped values of KERPLE, relu of FIRE. Parameters stay away from the first.
    own = {n: p.clamp(0.2, 1.7) if n.startswith("kerple") else p for n, p in own.items()}
    names = list(own)

    def output(*values):
        given = dict(zip(names, values, strict=True))
        return attend(q, k, v, built(spec), parameters=given)

    values = [own[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(output, values, fast_mode=True)


@pytest.mark.parametrize("spec", ["xpos:scale_base=4", "shaw:max_relative_position=3", "fox"])
def test_gradients_of_queries_keys_and_values_are_finite_differences(spec):
    tensors = [x.requires_grad_() for x in inputs(batch=1, queries=5, keys=7)]
    parameters = learned(spec, keys=7, queries=5, batch=1)

    def output(q, k, v):
        return attend(q, k, v, built(spec), parameters=parameters)

    assert torch.autograd.gradcheck(output, tensors, fast_mode=True)


@each_encoding
def test_scores_that_need_no_hidden_state_are_one_for_all_heads_of_a_batch(spec):
    """Batch mates change nothing."""
    q, k, v = inputs()
    whole = learned(spec)
    alone = {
        name: each[1:] if name in ("fox_forget", "inkling_relative") else each
        for name, each in whole.items()
    }
    both = in_pieces(q, k, v, built(spec), parameters=whole)
    assert_close(both[1:], in_pieces(q[1:], k[1:], v[1:], built(spec), parameters=alone), **SAME)


# What an encoding is.


def test_a_missing_parameter_is_named():
    q, k, v = inputs()
    with pytest.raises(RopewalkError, match="t5_bias"):
        attend(q, k, v, built("t5_bias"))


def test_tau_multiplies_what_depends_on_the_query():
    q, k, v = inputs()
    spec = "shaw:max_relative_position=3"
    parameters = learned(spec)
    scaled = replace(built(spec), score_mods=(Growing(),))
    tau = 1 + torch.log1p(torch.arange(4, 13).double())
    expected = attend_reference(q * tau[:, None], k, v, built(spec), parameters=parameters)
    assert_close(attend_reference(q, k, v, scaled, parameters=parameters), expected, **SAME)


def test_alibi_alone_rotates_nothing_and_joins_a_rotation():
    assert built("alibi").frequencies is None
    joined = built("alibi+yarn:factor=4")
    assert joined.frequencies == built("yarn:factor=4").frequencies
    assert joined.score_mods == built("alibi").score_mods
    assert built("alibi+none").frequencies == built("none").frequencies
    assert built("alibi+log_n").frequencies is None
    assert built("log_n+yarn:factor=4").frequencies == joined.frequencies


def test_maps_join_no_decaying_waves():
    with pytest.raises(RopewalkError, match="decay"):
        built("xpos+rerope")
    with pytest.raises(RopewalkError, match="rotated values"):
        built("rope_values+rerope")


def test_rotated_values_keep_the_frequencies_of_others():
    joined = built("rope_values+yarn:factor=4")
    assert joined.value_rotation is ValueRotation.BACK
    assert joined.frequencies == built("yarn:factor=4").frequencies


@pytest.mark.parametrize("name", ["learned", "sinusoidal"])
def test_what_is_added_to_embeddings_stays_out_of_the_scores(name):
    q, k, v = inputs()
    assert_close(attend(q, k, v, built(name)), attend(q, k, v, built("nope")), **SAME)


def test_a_learned_table_ends():
    (table,) = built("learned").inputs
    parameters = table.init(12)
    assert table.added(parameters, torch.arange(L0), 12).shape == (L0, 12)
    with pytest.raises(RopewalkError, match="6 rows"):
        table.added(parameters, torch.arange(L0 + 1), 12)


def test_sinusoids_are_the_paper_s():
    (sinusoids,) = built("sinusoidal").inputs
    added = sinusoids.added({}, torch.tensor([0, 3, 100_000]), 6)
    for row, position in zip(added, (0, 3, 100_000), strict=True):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert row[2 * i].item() == pytest.approx(math.sin(angle), abs=1e-10)
            assert row[2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-10)


# Biases of the distance alone are held as one vector.


@pytest.mark.parametrize("window", [100, 6])
@pytest.mark.parametrize("spec", ["alibi", "t5_bias", "kerple", "alibi+kerple"])
def test_a_bias_of_the_distance_is_a_view_of_one_vector(spec, window):
    """Equal to the bias pair by pair, rows from last to first, in 8 h (m + n - 1) bytes."""
    q, *_ = inputs(batch=1, queries=20, keys=57)
    call = Call(PaddedSliding.of([0], 20, 57, window))
    rotary = Rotary(encoding=built(spec), parameters=learned(spec, keys=57, queries=20, batch=1))
    bias = DistanceBias.of(rotary, call, q)
    (part,) = call.parts(built(spec))
    (piece,) = (piece for tile in part.tiles for piece in tile.pieces)
    view = bias.falling(piece, part)
    rows, keys = torch.arange(37, 57)[:, None], torch.arange(piece.start, piece.stop)
    block = Block(
        q=q, scale=1.0, rows=rows[None], keys=keys[None, None],
        batch=slice(0, 1), queries=slice(0, 20), key_range=slice(0, 57), all_queries=20,
    )  # fmt: skip
    unseen = (rows < keys) | (rows - keys >= window)
    dense = rotary.bias(block).masked_fill(unseen, -math.inf)
    assert_close(view.flip(2), dense.expand_as(view), **SAME)
    assert view.untyped_storage().nbytes() <= 8 * HEADS * (20 + 57 - 1)


@pytest.mark.parametrize("window", [100, 6])
@pytest.mark.parametrize("numbers", [1, 60, 10_000])
@pytest.mark.parametrize("spec", ["alibi", "t5_bias", "kerple:kernel=power+none"])
def test_gradients_of_a_bias_of_the_distance_are_the_oracle_s(spec, numbers, window, monkeypatch):
    """In blocks of one head of a group, of whole groups, of all; over a window and padding."""
    monkeypatch.setattr(diagonals, "NUMBERS", numbers)
    monkeypatch.setattr(diagonals, "MOST_KEYS", 4)
    monkeypatch.setattr(tiled, "attend_plain", None)  # nothing falls back on plain products
    rows, found = PaddedSliding.of([0, 3], 13, 13, window), []
    for function in (attend, attend_reference):
        tensors = [x.requires_grad_() for x in inputs(queries=13)]
        own = {n: p.clone().requires_grad_() for n, p in learned(spec, queries=13).items()}
        with cut_by(Sizes(masked_rows=7, least_rows=1)):
            out = function(*tensors, built(spec), rows=rows, parameters=own)
        real = torch.arange(13) >= torch.tensor([[0], [3]])
        out[real[:, None].expand(out.shape[:3])].square().sum().backward()
        found.append([x.grad for x in (*tensors, *own.values())])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, **SAME)


def test_weights_of_steep_slopes_that_are_no_normal_numbers_count_as_none():
    """In float32, ALiBi at 400 keys: the first head's far weights lie below e^-87."""
    found = []
    for function, dtype in ((attend, torch.float32), (attend_reference, torch.float64)):
        tensors = [x.to(dtype).requires_grad_() for x in inputs(batch=1, queries=400, keys=400)]
        function(*tensors, built("alibi")).square().sum().backward()
        found.append([x.grad.double() for x in tensors])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("spec", ["fox", "inkling", "fire", "shaw", "alibi+fox", "none", "log_n"])
def test_only_biases_of_the_distance_are_taken_for_such(spec):
    assert not built(spec).biased_by_distance


def test_rows_that_do_not_count_on_have_a_bias_pair_by_pair():
    q, k, v = inputs()
    index = torch.arange(13).expand(2, 13) * 2
    rows = CausalRows(index[:, 4:], index)
    oracle = attend_reference(q, k, v, built("alibi"), rows=rows)
    for way in (in_pieces, in_blocks):
        assert_close(way(q, k, v, built("alibi"), rows=rows), oracle, **SAME)
