"""The oracle against the papers, spelled out pair by pair."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from trained_encodings import DIM, HEADS, built, inputs, learned
from transformers.models.inkling.modeling_inkling import InklingRelativeLogits

from attention_inputs import qkv, random
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.xpos import XPos
from ropewalk.methods.build import encoding
from ropewalk.scores.alibi import ALiBi, PressSlopes
from ropewalk.scores.fox import FoX
from ropewalk.scores.t5_bias import T5Bias

SAME = {"rtol": 0, "atol": 1e-10}


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


# The oracle against the papers, spelled out pair by pair.


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


# Mutants: each has one deliberate defect that a comparison above catches.


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
