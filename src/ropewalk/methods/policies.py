"""The words for length policies, and the encodings that need none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import (
    AtAdmission,
    AtBirth,
    Fixed,
    LengthPolicy,
    PerQuery,
    SimulatedAtBirth,
    WholeSequence,
)
from ropewalk.core.score_mods import ScoreMod

Policy = Literal["per_query", "at_admission", "fixed", "whole_sequence", "at_birth", "normxu"]

STEPS = 32
"""Steps of a trained length, by default: 8,192 tokens make steps of 256, worth 0.1 % of perplexity
at most on the models measured, at a cost near that of a static method."""


def static_encoding(
    geometry: RopeGeometry, frequencies: Frequencies | None, *score_mods: ScoreMod
) -> Encoding:
    """An encoding whose frequencies do not depend on the context length; None rotates nothing."""
    return Encoding(
        geometry=geometry,
        frequencies=frequencies,
        length_policy=Fixed(length=geometry.trained_length),
        score_mods=score_mods,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyWords:
    """A length policy as a spec says it.

    step        tokens that share a base, with per_query only; by default L0 / 32, at least 1
    new_tokens  that may follow a prompt, with at_admission only and required there
    length      L, with fixed only and required there
    """

    policy: Policy
    step: int | None
    new_tokens: int | None
    length: int | None

    def build(self, trained_length: int) -> LengthPolicy:
        """The policy over a checkpoint. Raises RopewalkError for a parameter that it lacks."""
        self._check()
        if self.policy == "per_query":
            step = max(1, trained_length // STEPS) if self.step is None else self.step
            return PerQuery(trained_length=trained_length, step=step)
        if self.policy == "fixed":
            return Fixed(length=self._required("length", self.length, 8192))
        if self.policy == "at_admission":
            new = self._required("new_tokens", self.new_tokens, 512)
            return AtAdmission(trained_length=trained_length, new_tokens=new)
        return _BY_SEQUENCE[self.policy](trained_length=trained_length)

    def _check(self) -> None:
        stated = {"step": self.step, "new_tokens": self.new_tokens, "length": self.length}
        for name, tokens in stated.items():
            if tokens is not None and tokens > LARGEST_LENGTH:
                raise RopewalkError(f"{name}={tokens}: expected at most 2^40 tokens")
        for name, owner in _OWNERS.items():
            tokens = stated[name]
            if tokens is not None and self.policy != owner and (name, tokens) != ("step", 1):
                raise RopewalkError(
                    f"{name}={tokens} with policy={self.policy}: only {owner} has it; drop it or "
                    f"say policy={owner}"
                )

    def _required(self, name: str, tokens: int | None, example: int) -> int:
        if tokens is None:
            raise RopewalkError(
                f"policy={self.policy} without {name}: expected for example {name}={example}"
            )
        return tokens


_OWNERS: Mapping[str, Policy] = MappingProxyType(
    {"step": "per_query", "new_tokens": "at_admission", "length": "fixed"}
)
_BY_SEQUENCE: Mapping[Policy, Callable[..., LengthPolicy]] = MappingProxyType(
    {"whole_sequence": WholeSequence, "at_birth": AtBirth, "normxu": SimulatedAtBirth}
)
