"""Encodings over few channels, and maps and ways to attend of the tests themselves."""

from dataclasses import dataclass, replace

import torch

from attention_inputs import Growing, Slopes
from mutants import Windows
from representative import PARAMETERS
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import AtBirth, Fixed, PerQuery, WholeSequence
from ropewalk.core.regions import PositionMap, Region
from ropewalk.methods.build import encoding

L0, DIM = 6, 8


GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)


POLICIES = (
    PerQuery(trained_length=L0, step=1),
    PerQuery(trained_length=L0, step=3),
    Fixed(length=2 * L0),
    WholeSequence(trained_length=L0),
    AtBirth(trained_length=L0),
)


@dataclass(frozen=True)
class Clipped(Region):
    """Pairs from distance ``window`` on, all shown the distance ``window``."""

    window: int

    def query_positions(self, rows):
        return torch.full_like(rows, self.window, dtype=torch.float64)

    def key_positions(self, keys):
        return torch.zeros_like(keys, dtype=torch.float64)

    def key_bounds(self, rows):
        return torch.zeros_like(rows), rows - self.window + 1


@dataclass(frozen=True)
class ReRoPE(PositionMap):
    """Distances min(m - n, window)."""

    window: int

    @property
    def regions(self):
        near = Windows(near_end=self.window, far_start=self.window).regions[0]
        return (near, Clipped(self.window))


def method(name, geometry=GEOMETRY):
    """The representative of a method, its lists cut to the geometry's pairs."""
    pairs = geometry.rotary_dim // 2
    parameters = {
        key: value[:pairs] if isinstance(value, list) else value
        for key, value in PARAMETERS[name].items()
    }
    return encoding(name, geometry, **parameters)


def dynamic(policy=POLICIES[0], geometry=GEOMETRY, **changes):
    return replace(method("dynamic_ntk", geometry), length_policy=policy, **changes)


def needs_no_training(name):
    """Nor values as wide as keys: what does is in test_trained.py."""
    return not (method(name).trained or method(name).values_encoded)


ENCODINGS = {
    **{name: method(name) for name in PARAMETERS if needs_no_training(name)},
    **{f"dynamic_ntk {number}": dynamic(policy) for number, policy in enumerate(POLICIES)},
    "longrope whole": replace(method("longrope"), length_policy=WholeSequence(trained_length=L0)),
    "dynamic_yarn at birth": replace(
        method("dynamic_yarn"), length_policy=AtBirth(trained_length=L0)
    ),
    "bias": replace(method("yarn"), score_mods=(Slopes(),)),
    "bias and tau": dynamic(score_mods=(Growing(), Slopes(), Slopes())),
    "bias at birth": dynamic(AtBirth(trained_length=L0), score_mods=(Growing(), Slopes())),
    "windows": replace(method("none"), position_map=Windows(near_end=4, far_start=4)),
    "rerope": replace(method("yarn"), position_map=ReRoPE(4)),
    "dynamic rerope": dynamic(position_map=ReRoPE(4)),
    "rerope whole": dynamic(WholeSequence(trained_length=L0), position_map=ReRoPE(3)),
    "rerope, bias": dynamic(position_map=ReRoPE(4), score_mods=(Growing(), Slopes())),
}
