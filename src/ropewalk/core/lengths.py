"""Length policies: which context length L a row and its keys see.

A length-dependent encoding has one more degree of freedom than its formula shows: at
position m of a sequence that will end at N, is L the m + 1 tokens so far, N, or what the
serving engine allocated? And is a key turned with its own L or with its reader's? Each
policy is one answer. L never falls below the trained length L0, where frequencies are
constant by contract.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError


class LengthPolicy(ABC):
    """L of a row from its position and from the length of its sequence at this call."""

    path_independent: ClassVar[bool]
    """A row's result does not depend on how its sequence was split into calls."""
    keys_settle_at_birth: ClassVar[bool] = False
    """A key's L is settled when it is written, unlike its readers' L."""

    @property
    def settled_length(self) -> int | None:
        """The one L of every row and key, whatever the call; None where there is none."""
        return None

    @property
    def looks_at_admission(self) -> bool:
        """Whether ``sequence_lengths`` are those of the call that began each sequence."""
        return False

    @abstractmethod
    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        """L ``[b, m]`` (int64) of rows at ``positions`` ``[b, m]``.

        ``sequence_lengths`` ``[b]``: tokens of each sequence up to the end of this call.
        """

    def birth_lengths(self, key_positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        """L ``[b, n]`` of keys that a call writes, where keys settle at birth.

        ``key_positions`` ``[b, n]``; ``sequence_lengths`` as above.
        """
        return sequence_lengths[:, None].expand(key_positions.shape)

    def admitted(self, tokens: int) -> "LengthPolicy":
        """The policy of one request of ``tokens`` tokens: itself, unless a request decides L."""
        return self

    def streamed(self, prompt: int) -> "LengthPolicy":
        """The policy whose one full pass computes what decoding computes.

        Decoding means: the first ``prompt`` tokens in one call, then token by token. A path
        independent policy is its own.
        """
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class PerQuery(LengthPolicy):
    """L = L0 up to m + 1 = L0; beyond, L0 + step * ceil((m + 1 - L0) / step).

    What token-by-token decoding with un-rotated keys computes; the row's keys see the
    row's L. Rows of one step share a base, so a larger step makes a full pass cheaper.
    """

    trained_length: int
    step: int
    path_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.step < 1:
            raise RopewalkError(f"step={self.step}: expected at least 1 token")

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        beyond = (positions + 1 - self.trained_length).clamp(min=0)
        steps = torch.div(beyond + self.step - 1, self.step, rounding_mode="floor")
        return self.trained_length + self.step * steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed(LengthPolicy):
    """One L for every row and key: what engines with tables built at load compute."""

    length: int
    path_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.length < 2:
            raise RopewalkError(f"length={self.length}: expected at least 2 tokens")

    @property
    def settled_length(self) -> int | None:
        return self.length

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return torch.full_like(positions, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtAdmission(LengthPolicy):
    """L = max(L0, P + new_tokens) for every row and key of a sequence that began with P tokens.

    What a server computes that chooses its frequencies when it admits a request: it knows the
    prompt and how much may be written. P is the length of the first call of a sequence, or told
    beforehand (``admitted``); later calls keep it.
    """

    trained_length: int
    new_tokens: int
    path_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.new_tokens < 0:
            raise RopewalkError(f"new_tokens={self.new_tokens}: expected 0 or more tokens")

    @property
    def looks_at_admission(self) -> bool:
        return True

    def admitted(self, tokens: int) -> LengthPolicy:
        return Fixed(length=max(self.trained_length, tokens + self.new_tokens))

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        lengths = (sequence_lengths + self.new_tokens).clamp(min=self.trained_length)
        return lengths[:, None].expand(positions.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeSequence(LengthPolicy):
    """L = the sequence so far, for all rows of the call and all their keys.

    Depends on the split into calls: an early row of a long call sees a larger L than it
    would have seen while decoding.
    """

    trained_length: int
    path_independent: ClassVar[bool] = False

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        lengths = sequence_lengths.clamp(min=self.trained_length)
        return lengths[:, None].expand(positions.shape)

    def streamed(self, prompt: int) -> LengthPolicy:
        return StreamedWholeSequence(trained_length=self.trained_length, prompt=prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedWholeSequence(LengthPolicy):
    """``WholeSequence`` while decoding: L = P in a prompt of P tokens, then m + 1."""

    trained_length: int
    prompt: int
    path_independent: ClassVar[bool] = False

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return _since_prompt(positions, sequence_lengths, self.prompt).clamp(
            min=self.trained_length
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AtBirth(LengthPolicy):
    """L = m + 1 for a row; a key keeps the L of the call that wrote it.

    What decoding with rotated keys in the cache computes: queries and keys of one score
    disagree about the base. Kept to measure it, never a default.
    """

    trained_length: int
    path_independent: ClassVar[bool] = False
    keys_settle_at_birth: ClassVar[bool] = True

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return (positions + 1).clamp(min=self.trained_length)

    def streamed(self, prompt: int) -> LengthPolicy:
        return StreamedAtBirth(trained_length=self.trained_length, prompt=prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedAtBirth(LengthPolicy):
    """``AtBirth`` while decoding: a key of a prompt of P tokens keeps L = P, a later one n + 1."""

    trained_length: int
    prompt: int
    path_independent: ClassVar[bool] = False
    keys_settle_at_birth: ClassVar[bool] = True

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return (positions + 1).clamp(min=self.trained_length)

    def birth_lengths(self, key_positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return _since_prompt(key_positions, sequence_lengths, self.prompt).clamp(
            min=self.trained_length
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedAtBirth(LengthPolicy):
    """L = the sequence so far for all rows of the call; key n keeps L = n + 1.

    How ``AtBirth`` was measured in one full pass: the keys are those of decoding, but an early
    row sees the length of the whole sequence, not its own m + 1. Kept to reproduce published
    figures.

    Source: NormXU 2023, Consistent-DynamicNTKRoPE, the inconsistent patch of ``eval_ppl.py``.
    Deviation: the repository writes the trained length 2,048 into its code.
    """

    trained_length: int
    path_independent: ClassVar[bool] = False
    keys_settle_at_birth: ClassVar[bool] = True

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        lengths = sequence_lengths.clamp(min=self.trained_length)
        return lengths[:, None].expand(positions.shape)

    def birth_lengths(self, key_positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return (key_positions + 1).clamp(min=self.trained_length)

    def streamed(self, prompt: int) -> LengthPolicy:
        return StreamedSimulation(trained_length=self.trained_length, prompt=prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedSimulation(LengthPolicy):
    """``SimulatedAtBirth`` while decoding: rows of a prompt of P tokens see P, later ones m + 1."""

    trained_length: int
    prompt: int
    path_independent: ClassVar[bool] = False
    keys_settle_at_birth: ClassVar[bool] = True

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return _since_prompt(positions, sequence_lengths, self.prompt).clamp(
            min=self.trained_length
        )

    def birth_lengths(self, key_positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        return (key_positions + 1).clamp(min=self.trained_length)


def _since_prompt(positions: Tensor, sequence_lengths: Tensor, prompt: int) -> Tensor:
    """Tokens that a decoder held when it computed each position: P in the prompt, then m + 1."""
    first_call = sequence_lengths.clamp(max=prompt)[:, None]
    return torch.maximum(positions + 1, first_call.expand(positions.shape))
