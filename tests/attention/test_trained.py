"""Encodings that a model is trained with: each is its paper's formula, however tokens are fed."""

import json
import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close
from transformers.models.inkling.modeling_inkling import InklingRelativeLogits
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from attention_inputs import Growing, PaddedSliding, qkv, random, trained
from places import GOLDENS
from ropewalk.attention import tiled
from ropewalk.attention.distances import falling_bias
from ropewalk.attention.plain import attend_plain
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.tiled import attend
from ropewalk.core.encoding import KeyStorage, ValueRotation
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rows import CausalRows
from ropewalk.core.score_mods import Block
from ropewalk.frequencies.xpos import XPos
from ropewalk.methods.build import encoding
from ropewalk.scores.alibi import ALiBi, GeometricSlopes, PressSlopes
from ropewalk.scores.fox import FoX
from ropewalk.scores.t5_bias import T5Bias

CASES = json.loads((GOLDENS / "cases.json").read_text())["cases"]
L0, DIM, HEADS = 6, 8, 4
GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)
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


def built(spec, geometry=GEOMETRY):
    return encoding(spec, geometry)


def learned(spec, keys=13, queries=9, batch=2):
    return trained(built(spec), HEADS, keys, queries, batch=batch, head_dim=DIM)


def inputs(**shape):
    return qkv(values=DIM, **shape)


def in_pieces(q, *call, **own):
    with torch.no_grad():
        return attend(q, *call, **own)


def in_blocks(q, *call, **own):
    with patch.object(tiled, "attend_differentiable", attend_plain):
        return attend(q.clone().requires_grad_(), *call, **own).detach()


both_ways = pytest.mark.parametrize("way", [in_pieces, in_blocks])


# The oracle against the papers, spelled out pair by pair.


def by_hand(q, k, v, *, bias, turn=None, value=None, scale=DIM**-0.5):
    """One sequence. ``bias(h, m, n)``, ``turn(x, position, side)``, ``value(h, m, n)``."""
    heads, queries, _ = q.shape
    keys, group = k.shape[1], heads // k.shape[0]
    out = torch.zeros(heads, queries, v.shape[-1], dtype=torch.float64)
    for h in range(heads):
        for row in range(queries):
            m, scores, values = keys - queries + row, [], []
            for n in range(m + 1):
                one, other = q[h, row], k[h // group, n]
                if turn is not None:
                    one, other = turn(one, m, +1), turn(other, n, -1)
                scores.append(float(one @ other) * scale + float(bias(h, m, n)))
                values.append(value(h, m, n) if value else v[h // group, n])
            weights = torch.tensor(scores, dtype=torch.float64).softmax(-1)
            out[h, row] = weights @ torch.stack(values)
    return out


def assert_is(spec, expected, parameters, tensors):
    q, k, v = tensors
    actual = attend_reference(q, k, v, built(spec), parameters=parameters)
    assert_close(actual[1], expected, **SAME)


def no_bias(h, m, n):
    return 0.0


def test_nope_is_attention_under_a_causal_mask():
    q, k, v = inputs()
    expected = by_hand(q[1], k[1], v[1], bias=no_bias)
    assert_is("nope", expected, {}, (q, k, v))


def test_alibi_is_the_paper_s():
    q, k, v = inputs()
    expected = by_hand(q[1], k[1], v[1], bias=lambda h, m, n: -(2 ** (-8 * (h + 1) / 4)) * (m - n))
    assert_is("alibi", expected, {}, (q, k, v))


def test_t5_is_the_paper_s():
    """Six buckets up to 8: 0, 1, 2 alone, then from 3 on in logarithmic steps."""
    spec = "t5_bias:relative_attention_num_buckets=6,relative_attention_max_distance=8"
    parameters, (q, k, v) = learned(spec), inputs()
    table = parameters["t5_bias"]

    def bias(h, m, n):
        distance = m - n
        far = 3 + math.floor(3 * math.log(max(distance, 1) / 3) / math.log(8 / 3))
        return table[distance if distance < 3 else min(5, far), h]

    assert_is(spec, by_hand(q[1], k[1], v[1], bias=bias), parameters, (q, k, v))


@pytest.mark.parametrize(
    ("kernel", "formula"),
    [
        ("log", lambda r1, r2, d: -r1 * math.log(1 + r2 * d)),
        ("power", lambda r1, r2, d: -r1 * d ** min(r2, 2)),
    ],
)
def test_kerple_is_the_paper_s(kernel, formula):
    spec = f"kerple:kernel={kernel}"
    parameters, (q, k, v) = learned(spec), inputs()
    r1, r2 = parameters["kerple_r1"].tolist(), parameters["kerple_r2"].tolist()
    expected = by_hand(
        q[1], k[1], v[1], bias=lambda h, m, n: formula(max(r1[h], 0.01), max(r2[h], 0.01), m - n)
    )
    assert_is(spec, expected, parameters, (q, k, v))


def test_fire_is_the_code_of_the_paper():
    """As printed in its appendix: two linear layers over normalised distances."""
    spec = "fire:threshold=5,units=7"
    parameters, (q, k, v) = learned(spec), inputs()
    first = torch.nn.Linear(1, 7).double()
    last = torch.nn.Linear(7, HEADS).double()
    with torch.no_grad():
        first.weight.copy_(parameters["fire_in"][0][:, None])
        first.bias.copy_(parameters["fire_in"][1])
        last.weight.copy_(parameters["fire_out"][:-1].T)
        last.bias.copy_(parameters["fire_out"][-1])
        positions = torch.arange(13, dtype=torch.float64)
        distance = positions[:, None] - positions[None, :]
        threshold = torch.abs(parameters["fire_t"] * 5)
        normalizer = torch.max(positions, threshold)[:, None]
        distance = torch.log(torch.abs(parameters["fire_c"] * distance) + 1)
        normalizer = torch.log(torch.abs(parameters["fire_c"] * normalizer) + 1) + 1e-6
        bias = last(torch.relu(first((distance / normalizer)[..., None])))
    expected = by_hand(q[1], k[1], v[1], bias=lambda h, m, n: bias[m, n, h])
    assert_is(spec, expected, parameters, (q, k, v))


def test_fox_is_the_paper_s():
    parameters, (q, k, v) = learned("fox"), inputs()
    hidden = random(2, 13, 12, seed=9)[1]
    weight, start = parameters["fox_weight"], parameters["fox_bias"]
    gates = torch.sigmoid(hidden @ weight.T + start)

    def bias(h, m, n):
        return sum(math.log(gates[j, h]) for j in range(n + 1, m + 1))

    assert_is("fox", by_hand(q[1], k[1], v[1], bias=bias), parameters, (q, k, v))


def test_inkling_is_the_library_s():
    """The library's own module for the bias; tau multiplies query and bias, as its layer does."""
    spec = "inkling:rel_extent=5,d_rel=3,log_scaling_n_floor=4"
    parameters, (q, k, v) = learned(spec), inputs()
    module = InklingRelativeLogits(3, 5).double()
    with torch.no_grad():
        module.proj.copy_(parameters["inkling_profiles"])
        hidden = random(2, 13, 12, seed=9)[:, 4:]
        relative = (hidden @ parameters["inkling_mix"].T).view(2, 9, HEADS, 3)
        index = torch.arange(13)
        bias = module(relative, index[4:], index)[1]

    def tau(m):
        return 1 + 0.1 * math.log(max(1, (m + 1) / 4))

    taus = torch.tensor([tau(m) for m in range(4, 13)], dtype=torch.float64)
    scaled = q[1] * taus[:, None]
    expected = by_hand(scaled, k[1], v[1], bias=lambda h, m, n: tau(m) * bias[h, m - 4, n])
    assert_is(spec, expected, parameters, (q, k, v))


def test_shaw_is_the_paper_s():
    """Keys and values that have a vector of the clipped distance added, pair by pair."""
    spec = "shaw:max_relative_position=3"
    parameters, (q, k, v) = learned(spec), inputs()
    keys, values = parameters["shaw_keys"], parameters["shaw_values"]

    def clipped(m, n):
        return max(-3, min(3, n - m)) + 3

    expected = by_hand(
        q[1], k[1], v[1],
        bias=lambda h, m, n: q[1, h, m - 4] @ keys[clipped(m, n)] * DIM**-0.5,
        value=lambda h, m, n: v[1, h // 2, n] + values[clipped(m, n)],
    )  # fmt: skip
    assert_is(spec, expected, parameters, (q, k, v))


def rope_turn(x, position, theta):
    """Channels i and i + 4 of a vector, as complex numbers."""
    wave = torch.exp(1j * position * torch.tensor(theta, dtype=torch.float64))
    turned = torch.complex(x[:4], x[4:]) * wave
    return torch.cat([turned.real, turned.imag])


def plain_theta():
    return [50.0 ** (-2 * i / DIM) for i in range(DIM // 2)]


def test_xpos_is_the_paper_s():
    q, k, v = inputs()
    zeta = torch.tensor([(2 * i / DIM + 0.4) / 1.4 for i in range(4)], dtype=torch.float64)

    def turn(x, position, sign):
        size = zeta ** (sign * position / 4)
        return rope_turn(x, position, plain_theta()) * torch.cat([size, size])

    expected = by_hand(q[1], k[1], v[1], bias=no_bias, turn=turn)
    assert_is("xpos:scale_base=4", expected, {}, (q, k, v))


@pytest.mark.parametrize("output", ["rotated_back", "kept"])
def test_rope_on_values_is_a_rotation_by_distance_or_by_position(output):
    q, k, v = inputs()

    def value(h, m, n):
        return rope_turn(v[1, h // 2, n], n - m if output == "rotated_back" else n, plain_theta())

    def turn(x, position, sign):
        return rope_turn(x, position, plain_theta())

    expected = by_hand(q[1], k[1], v[1], bias=no_bias, turn=turn, value=value)
    assert_is(f"rope_values:output={output}", expected, {}, (q, k, v))


# Goldens, and the libraries where they are right.


def goldens(kind):
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def golden(actual, expected):
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert_close(actual, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", goldens("alibi_slopes"))
def test_slopes_are_golden(case):
    rule = {"press": PressSlopes(), "geometric": GeometricSlopes()}[case["params"]["rule"]]
    golden(rule.of(case["params"]["num_heads"]), case["expected"]["slopes"])


@pytest.mark.parametrize("heads", [1, 2, 3, 7, 12, 16, 20, 40])
def test_slopes_are_those_of_the_library_of_alibi(heads):
    """MPT of transformers: slopes and key positions, in float32."""
    bias = build_mpt_alibi_tensor(heads, 9, alibi_bias_max=8)
    rows, keys = torch.tensor([[8]]), torch.arange(9)[None]
    own = ALiBi(slopes=PressSlopes()).bias(heads, rows, keys)
    if heads & (heads - 1) == 0:
        assert_close(bias[:, 0].double(), own[:, 0], rtol=1e-6, atol=0)
    sorted_own = own[:, 0, 0].sort().values
    assert len(sorted_own.unique()) == heads


@pytest.mark.parametrize("case", goldens("t5_buckets"))
def test_buckets_are_golden(case):
    params = case["params"]
    bias = T5Bias(
        buckets=params["num_buckets"],
        max_distance=params["max_distance"],
        direction="bidirectional" if params["bidirectional"] else "causal",
    )
    distances = -torch.tensor(params["relative_position"])
    assert bias.bucket(distances).tolist() == case["expected"]["buckets"]


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (16, 64), (32, 256)])
def test_buckets_are_those_of_transformers(direction, buckets, most):
    distances = torch.arange(-600, 600)
    own = T5Bias(buckets=buckets, max_distance=most, direction=direction).bucket(distances)
    both = direction == "bidirectional"
    library = T5Attention._relative_position_bucket(-distances, both, buckets, most)
    assert torch.equal(own, library)


def test_alibi_t5_and_xpos_are_those_of_x_transformers():
    library = pytest.importorskip("x_transformers.x_transformers")
    q, k, v = qkv(batch=1, key_heads=HEADS, queries=13, keys=13, values=DIM, dtype=torch.float32)
    alibi = library.AlibiPositionalBias(HEADS)(13, 13)
    table = library.RelativePositionBias(scale=1, causal=True, heads=HEADS)
    t5 = table(13, 13).detach()
    weights = {"t5_bias": table.relative_attention_bias.weight.detach()}
    causal = torch.full((13, 13), -math.inf).triu(1)
    for spec, bias, parameters in (("alibi", alibi, {}), ("t5_bias", t5, weights)):
        expected = functional.scaled_dot_product_attention(q, k, v, bias + causal)
        actual = attend_reference(q, k, v, built(spec), parameters=parameters)
        assert_close(actual.float(), expected, rtol=0, atol=2e-6)
    rotary = library.RotaryEmbedding(DIM, use_xpos=True, base=50.0)
    freqs, scale = rotary.forward_from_seq_len(13)
    turned = library.apply_rotary_pos_emb(q, freqs, scale)
    other = library.apply_rotary_pos_emb(k, freqs, scale**-1)
    expected = functional.scaled_dot_product_attention(turned, other, v, is_causal=True)
    geometry = replace(GEOMETRY, pairing="interleaved")
    actual = attend_reference(q, k, v, built("xpos", geometry))
    assert_close(actual.float(), expected, rtol=0, atol=2e-6)


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


@pytest.mark.parametrize("spec", ["alibi", "t5_bias", "kerple", "alibi+kerple"])
def test_a_bias_of_the_distance_is_a_view_of_one_vector(spec):
    """Equal to the bias pair by pair, rows from last to first, in 8 h (m + n - 1) bytes."""
    rows, keys = torch.arange(40, 60), torch.arange(3, 60)
    block = Block(
        q=random(1, HEADS, 20, DIM, seed=0), scale=1.0,
        rows=rows[None, :, None], keys=keys[None, None],
        batch=slice(0, 1), queries=slice(0, 20), key_range=slice(3, 60), all_queries=20,
    )  # fmt: skip
    rotary = Rotary(encoding=built(spec), parameters=learned(spec))
    view = falling_bias(rotary, block, torch.float64, lowest=0)
    unseen = rows[:, None] < keys
    dense = rotary.bias(block).masked_fill(unseen, -math.inf)
    assert_close(view.flip(2), dense.expand_as(view), **SAME)
    assert view.untyped_storage().nbytes() == 8 * HEADS * (20 + 57 - 1)


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


# xPos far away.


def test_xpos_scales_are_golden():
    (case,) = [case for case in CASES if case["kind"] == "xpos_scale"]
    params, expected = case["params"], case["expected"]
    geometry = RopeGeometry(head_dim=params["rotary_dim"], rope_theta=1e4, trained_length=2048)
    waves = XPos(geometry=geometry, scale_base=params["scale_base"], gamma=params["gamma"])
    positions = torch.tensor(params["positions"])
    golden(waves.zeta, expected["zeta"])
    golden(waves.size(positions, 2048, Side.QUERY), expected["scale"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_xpos_is_finite_and_right_at_100_000_tokens(dtype):
    """Sizes counted from 0 leave float16 at 9,216 tokens and float32 before 82,000.

    float64 holds them: 0.29^(100,000 / 512) is 1e-106, so the formula can be read literally.
    """
    keys, geometry = 100_000, RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=2048)
    built_far = encoding("xpos", geometry)
    q, k, v = (x.to(dtype) for x in qkv(1, 2, 1, 3, keys, 16, 16))
    waves = built_far.frequencies
    places = torch.arange(keys)
    turned = [
        built_far.turn(side, at, 2048).of(x.double())
        for x, side, at in ((q, Side.QUERY, places[-3:]), (k, Side.KEY, places))
    ]
    assert waves.size(places[-1:], 2048, Side.KEY).max() > torch.finfo(torch.float32).max
    scores = turned[0] @ turned[1].transpose(-1, -2) / 4
    scores[..., -3:] += torch.full((3, 3), -math.inf).triu(1)
    expected = scores.softmax(-1) @ v.double()
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5}.get(dtype, 2e-3)
    for stop in (keys - 2, keys - 1, keys):
        one = attend(
            q[:, :, : stop - keys + 3][:, :, -1:], k[:, :, :stop], v[:, :, :stop], built_far
        )
        assert_close(one[:, :, 0].double(), expected[:, :, stop - keys + 2], rtol=0, atol=tolerance)
    whole = attend(q, k, v, built_far)
    assert_close(whole.double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("start", [0, 1_000_000])
def test_xpos_does_not_care_where_positions_start(start):
    q, k, v = inputs()
    index = torch.arange(13).expand(2, 13) + start
    rows = CausalRows(index[:, 4:], index)
    for way in (in_pieces, in_blocks):
        moved = way(q, k, v, built("xpos:scale_base=4"), rows=rows)
        assert_close(moved, in_pieces(q, k, v, built("xpos:scale_base=4")), rtol=0, atol=1e-8)


def test_xpos_keys_are_stored_unrotated():
    assert built("xpos").key_storage is KeyStorage.UNROTATED
    assert not built("xpos").rotation_only


# Mutants: each has one deliberate defect that a comparison above catches.


class WithoutOrigins(XPos):
    """Counts all positions from 0."""

    tile_rows = None


class OneLate(ALiBi):
    """Counts a row's own key as distance 1, but only for the first head."""

    def bias(self, heads, rows, keys):
        own = super().bias(heads, rows, keys)
        own[0] -= (rows == keys).double()
        return own


class ForgetsTheKeyToo(FoX):
    """Lets the gate of the key count."""

    def bias(self, parameters, block):
        forget = parameters["fox_forget"][block.batch].movedim(1, 2)
        return super().bias(parameters, block) + forget[..., None, block.key_range]


class ExactOneTooLong(T5Bias):
    """Has one exact bucket more."""

    def bucket(self, distances):
        right = super().bucket(distances)
        return torch.where(distances == self.buckets // 2, self.buckets // 2 + 1, right)


def test_positions_counted_from_0_are_caught():
    q, k, v = (x.float() for x in qkv(1, 2, 1, 1, 100_000, 16, 16))
    geometry = RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=2048)
    right = encoding("xpos", geometry)
    wrong = replace(right, frequencies=WithoutOrigins(geometry=geometry))
    assert attend(q, k, v, right).isfinite().all()
    assert not attend(q, k, v, wrong).isfinite().all()


def test_a_bias_off_by_one_is_caught():
    q, k, v = inputs()
    mutants = {
        "alibi": {"score_mods": (OneLate(slopes=PressSlopes()),)},
        "fox": {"learned": (ForgetsTheKeyToo(),)},
        "t5_bias:relative_attention_num_buckets=6,relative_attention_max_distance=8": {
            "learned": (ExactOneTooLong(buckets=6, max_distance=8),)
        },
    }
    for spec, change in mutants.items():
        parameters = learned(spec)
        right = attend_reference(q, k, v, built(spec), parameters=parameters)
        wrong = attend_reference(q, k, v, replace(built(spec), **change), parameters=parameters)
        assert (right - wrong).abs().max() > 1e-3
