"""An encoding: one point in the space of frequencies, lengths, positions and scores.

    score_h(m, n) = tau(m) * sigma * Re< rho(q_m; P_q, L_q), rho(k_n; P_k, L_k) > + bias_h(m, n)

rho turns each pair of channels by ``frequencies.angles(P, L)`` and multiplies it by
``frequencies.attention_factor(L)``.
"""

from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import LengthPolicy
from ropewalk.core.regions import Identity, PositionMap
from ropewalk.core.score_mods import ScoreMod


class KeyStorage(Enum):
    """What a key cache holds. Derived from the encoding, never chosen."""

    ROTATED = "rotated"
    UNROTATED = "unrotated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A position encoding over the geometry of one checkpoint. A method returns one.

    Raises RopewalkError for keys that settle at birth under a map with several regions: such
    keys are stored rotated, and a key with several positions cannot be.
    """

    geometry: RopeGeometry
    frequencies: Frequencies
    length_policy: LengthPolicy
    position_map: PositionMap = field(default_factory=Identity)
    score_mods: tuple[ScoreMod, ...] = ()

    def __post_init__(self) -> None:
        several = len(self.position_map.regions) > 1
        if several and self.row_dependent and self.length_policy.keys_settle_at_birth:
            raise RopewalkError(
                f"policy=at_birth with a map of {len(self.position_map.regions)} regions: its keys "
                "are stored rotated, which needs one position a key; use policy=per_query"
            )

    @property
    def key_storage(self) -> KeyStorage:
        """Rotated if and only if there is one key map and a key's L is settled at its birth."""
        one_key_map = len(self.position_map.regions) == 1
        return KeyStorage.ROTATED if one_key_map and self._key_settled else KeyStorage.UNROTATED

    @property
    def _key_settled(self) -> bool:
        return not self.row_dependent or self.length_policy.keys_settle_at_birth

    @property
    def row_dependent(self) -> bool:
        """Whether two rows of one sequence may see different frequencies."""
        return self.frequencies.length_dependent and self.settled_length is None

    @property
    def settled_length(self) -> int | None:
        """The one L of every row and key where there is one, whatever the call; else None."""
        if not self.frequencies.length_dependent:
            return self.geometry.trained_length
        return self.length_policy.settled_length

    @property
    def path_independent(self) -> bool:
        """Whether full pass, chunked prefill and decoding compute the same."""
        return not self.frequencies.length_dependent or self.length_policy.path_independent

    @property
    def rotation_only(self) -> bool:
        """One base, true positions, plain scores: cos and sin alone carry the encoding."""
        return (
            self.settled_length is not None
            and self.position_map == Identity()
            and not self.score_mods
        )

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        """L ``[b, m]`` that each row sees; constant where frequencies do not depend on it."""
        if self.settled_length is not None:
            return torch.full_like(positions, self.settled_length)
        return self.length_policy.row_lengths(positions, sequence_lengths)

    def query_scale(self, rows: Tensor) -> Tensor:
        """tau: the product of all score modifications' scales, float64, shape of ``rows``."""
        scale = torch.ones_like(rows, dtype=torch.float64)
        for mod in self.score_mods:
            scale = scale * mod.query_scale(rows)
        return scale

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor | None:
        """Sum of all score modifications' biases, or None."""
        biases = [b for mod in self.score_mods if (b := mod.bias(heads, rows, keys)) is not None]
        return sum(biases[1:], biases[0]) if biases else None


def relative_positions(encoding: Encoding, length: int) -> Tensor:
    """The distance that each pair really sees: float64 ``[m, n]``, NaN above the diagonal."""
    index = torch.arange(length)
    rows, keys = index[:, None], index[None, :]
    distances = torch.full((length, length), float("nan"), dtype=torch.float64)
    for region in encoding.position_map.regions:
        difference = region.query_positions(rows) - region.key_positions(keys)
        covered = region.covers(rows, keys) & (keys <= rows)
        distances = torch.where(covered, difference, distances)
    return distances
