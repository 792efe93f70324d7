"""Encodings with one deliberate defect each. Every one must make a law fail.

A mutant stands for a defect seen in released code, or one that a careless edit could make.
"""

from dataclasses import dataclass

import torch

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry, rope_inv_freq
from ropewalk.core.regions import PositionMap, Region
from ropewalk.core.rotation import rotate
from ropewalk.frequencies.ramps import IndexRamp, Ramp
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.near import Near
from ropewalk.positions.rerope import Constant, ReRoPE
from ropewalk.positions.string import ShiftedRoPE


@dataclass(frozen=True)
class InvertedRamp(Ramp):
    """Interpolates the fast pairs and leaves the slow ones alone."""

    def interpolated(self, geometry):
        return 1 - IndexRamp().interpolated(geometry)


@dataclass(frozen=True)
class IgnoredTheta(Frequencies):
    """Turns with base 10,000 whatever the checkpoint says."""

    geometry: RopeGeometry

    def inv_freq(self, context_length):
        return rope_inv_freq(self.geometry.rotary_dim, 10_000.0)


@dataclass(frozen=True)
class PositionsInBf16(Frequencies):
    """Rounds positions to the dtype of the activations."""

    geometry: RopeGeometry

    def inv_freq(self, context_length):
        return self.geometry.inv_freq()

    def angles(self, positions, context_length):
        return positions.to(torch.bfloat16).double()[..., None] * self.inv_freq(context_length)


@dataclass(frozen=True)
class GrowsBeforeTheTrainedLength(Frequencies):
    """Dynamic linear scaling that forgets the trained length below it."""

    geometry: RopeGeometry

    def inv_freq(self, context_length):
        growth = context_length / self.geometry.trained_length
        return self.geometry.inv_freq() / growth


@dataclass(frozen=True)
class CentredPositions(Frequencies):
    """Squares positions: scores depend on more than a difference."""

    geometry: RopeGeometry

    def inv_freq(self, context_length):
        return self.geometry.inv_freq()

    def angles(self, positions, context_length):
        return positions.double()[..., None] ** 2 * self.inv_freq(context_length)


def rotate_backwards(x, angles, *, pairing="half", factor=1.0):
    """Turns by minus the angle."""
    return rotate(x, -angles, pairing=pairing, factor=factor)


def rotate_with_scale_twice(x, angles, *, pairing="half", factor=1.0):
    """Applies the attention factor to cos and sin and once more to the result."""
    return rotate(x, angles, pairing=pairing, factor=factor) * factor


def rotate_other_pairing(x, angles, *, pairing="half", factor=1.0):
    """Takes the pairing of the other family."""
    other = "interleaved" if pairing == "half" else "half"
    return rotate(x, angles, pairing=other, factor=factor)


@dataclass(frozen=True)
class Window(Region):
    """Pairs at distances first .. last - 1, at their true positions."""

    first: int
    last: int

    def query_positions(self, rows):
        return rows.double()

    def key_positions(self, keys):
        return keys.double()

    def key_bounds(self, rows):
        return rows - self.last + 1, rows - self.first + 1


@dataclass(frozen=True)
class Windows(PositionMap):
    """A near and a far region; covers every pair once if and only if they meet."""

    near_end: int
    far_start: int

    @property
    def regions(self):
        return (Window(0, self.near_end), Window(self.far_start, 2**40))


@dataclass(frozen=True)
class Overlapping(ReRoPE):
    """The pair at the window's edge lies in both regions."""

    @property
    def regions(self):
        return (Near(window=self.window + 1), Constant(window=self.window))


@dataclass(frozen=True)
class GrowsToTheContext(DualChunk):
    """Lets the last position be c, as released code does, and promises c - 1."""

    @property
    def largest_position(self):
        return self.chunk_size + self.local_window

    def reach(self, trained_length):
        return None


@dataclass(frozen=True)
class ReachesOneTokenFarther(ShiftedRoPE):
    """Counts positions where it should count distances."""

    def reach(self, trained_length):
        return trained_length + self.shift - self.window + 1


@dataclass(frozen=True)
class ReachesOneTokenLess(ShiftedRoPE):
    """Counts distances where it should count positions."""

    def reach(self, trained_length):
        return trained_length + self.shift - self.window - 1


@dataclass(frozen=True)
class FallingBounds(Region):
    """A band that begins anew in every second row."""

    def query_positions(self, rows):
        return rows.double()

    def key_positions(self, keys):
        return keys.double()

    def key_bounds(self, rows):
        return rows % 2, torch.full_like(rows, 2**40)


@dataclass(frozen=True)
class Falling(PositionMap):
    """One region whose bounds fall."""

    @property
    def regions(self):
        return (FallingBounds(),)
