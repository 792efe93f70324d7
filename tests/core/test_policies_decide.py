"""What a length policy decides for an encoding: what caches may hold, scales, waves of rows."""

from dataclasses import dataclass

import pytest
import torch
from length_policies import L0, POLICIES

from mutants import Windows
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import (
    AtBirth,
    Fixed,
    PerQuery,
    SimulatedAtBirth,
    WholeSequence,
)
from ropewalk.core.score_mods import ScoreMod
from ropewalk.methods.build import encoding

GEOMETRY = RopeGeometry(head_dim=8, rope_theta=1e4, trained_length=L0)


def dynamic(policy, **changes):
    built = encoding("dynamic_ntk", GEOMETRY)
    return Encoding(
        geometry=GEOMETRY, frequencies=built.frequencies, length_policy=policy, **changes
    )


@pytest.mark.parametrize(
    ("policy", "storage"),
    [
        (PerQuery(trained_length=L0, step=1), KeyStorage.UNROTATED),
        (Fixed(length=128), KeyStorage.ROTATED),
        (WholeSequence(trained_length=L0), KeyStorage.UNROTATED),
        (AtBirth(trained_length=L0), KeyStorage.ROTATED),
        (SimulatedAtBirth(trained_length=L0), KeyStorage.ROTATED),
    ],
)
def test_what_a_cache_may_hold_follows_from_the_policy(policy, storage):
    assert dynamic(policy).key_storage is storage
    static = encoding("yarn", GEOMETRY, factor=4)
    assert static.key_storage is KeyStorage.ROTATED


def test_two_key_maps_leave_no_one_rotation_to_store():
    static = encoding("none", GEOMETRY)
    two = Encoding(
        geometry=GEOMETRY,
        frequencies=static.frequencies,
        length_policy=static.length_policy,
        position_map=Windows(near_end=8, far_start=8),
    )
    assert two.key_storage is KeyStorage.UNROTATED


def test_a_rotated_key_of_several_maps_is_refused():
    """Keys that settle at birth are rotated keys: a map with several regions has none."""
    with pytest.raises(RopewalkError, match="at_birth"):
        dynamic(AtBirth(trained_length=L0), position_map=Windows(near_end=8, far_start=8))


@dataclass(frozen=True)
class Biased(ScoreMod):
    """tau and a bias for the sums below."""

    tau: float
    slope: float | None

    def query_scale(self, rows):
        return torch.full_like(rows, self.tau, dtype=torch.float64)

    def bias(self, heads, rows, keys):
        if self.slope is None:
            return None
        return self.slope * torch.ones(heads, 1, 1, dtype=torch.float64) * (rows - keys)


def test_score_modifications_multiply_their_scales_and_add_their_biases():
    mods = (Biased(2.0, None), Biased(3.0, 0.5), Biased(1.0, 0.25))
    built = dynamic(PerQuery(trained_length=L0, step=1), score_mods=mods)
    rows, keys = torch.tensor([[4], [7]]), torch.tensor([[0, 4]])
    assert built.query_scale(rows).unique().tolist() == [6.0]
    assert built.bias(2, rows, keys).tolist() == [[[3.0, 0.0], [5.25, 2.25]]] * 2
    assert (
        dynamic(PerQuery(trained_length=L0, step=1), score_mods=mods[:1]).bias(2, rows, keys)
        is None
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_a_static_encoding_has_one_length_under_any_policy(policy):
    """Rows of one static encoding share a block, whatever their positions."""
    static = encoding("none", GEOMETRY)
    built = Encoding(geometry=GEOMETRY, frequencies=static.frequencies, length_policy=policy)
    positions = torch.tensor([[0, 10, 500]])
    assert built.row_lengths(positions, torch.tensor([501])).tolist() == [[L0] * 3]
    assert built.path_independent
    assert built.rotation_only


@pytest.mark.parametrize(
    "spec", ["none", "yarn:factor=4", "dynamic_ntk", "dynamic_yarn", "longrope"]
)
def test_rows_that_see_a_length_each_turn_as_each_would_alone(spec, tmp_path):
    """Angles of many lengths at once, against one length at a time."""
    (tmp_path / "short.json").write_text("[1, 1, 1, 1.5]")
    (tmp_path / "long.json").write_text("[1, 2, 3, 4]")
    if spec == "longrope":
        short, long = tmp_path / "short.json", tmp_path / "long.json"
        spec = f"longrope:factor=4,short_factor=@{short},long_factor=@{long},start_tokens=3"
    frequencies = encoding(spec, GEOMETRY).frequencies
    positions = torch.tensor([[0, 2, 63, 64], [65, 100, 639, 5]])
    lengths = torch.tensor([[64, 64, 64, 65], [66, 101, 640, 640]])
    angles = frequencies.angles(positions, lengths)
    sizes = [frequencies.size(positions, lengths, side) for side in Side]
    for place in ((b, m) for b in range(2) for m in range(4)):
        alone = frequencies.angles(positions[place], int(lengths[place]))
        torch.testing.assert_close(angles[place], alone, rtol=0, atol=0)
        factor = frequencies.attention_factor(int(lengths[place]))
        assert [size[place].item() for size in sizes] == [factor, factor]
