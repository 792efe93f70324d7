"""An encoding: one point in the space of frequencies, lengths, positions and scores.

    score_h(m, n) = tau(m) * sigma * Re< w_q(m) q_m, w_k(n) k_n > + bias_h(m, n; q_m, x)

w_q and w_k are the query's and the key's waves (``Frequencies.wave``), complex numbers that
multiply each pair of channels, at the positions of the region that (m, n) lies in. A bias may
have parameters, which live in the model, and read queries q or hidden states x; values may be
rotated or have a relative term too.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies, Side
from ropewalk.core.geometry import Pairing, RopeGeometry
from ropewalk.core.inputs import InputEncoding
from ropewalk.core.lengths import LengthPolicy
from ropewalk.core.regions import Identity, PositionMap
from ropewalk.core.rotation import Turn
from ropewalk.core.score_mods import (
    LayerShape,
    LearnedBias,
    Parameters,
    RelativeValues,
    ScoreMod,
    of_heads,
)


class KeyStorage(Enum):
    """What a key cache holds. Derived from the encoding, never chosen."""

    ROTATED = "rotated"
    UNROTATED = "unrotated"


class ValueRotation(Enum):
    """Whether values are rotated as keys are, and what comes of it."""

    NONE = "values are not rotated"
    BACK = "the output is rotated back by its row: values are seen at their distance"
    KEPT = "the output is left as it is: values are seen at their position"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A position encoding over the geometry of one checkpoint. A method returns one.

    frequencies     None where nothing rotates
    learned         biases whose parameters live in the model
    value_rotation  of the values
    value_terms     relative terms of the values, with parameters
    inputs          what is added to embeddings, outside of the equation

    Raises RopewalkError for a map with several regions under keys that settle at birth (they are
    stored rotated, and a key with several positions cannot be), under waves that decay with the
    distance, and under rotated values.
    """

    geometry: RopeGeometry
    frequencies: Frequencies | None
    length_policy: LengthPolicy
    position_map: PositionMap = field(default_factory=Identity)
    score_mods: tuple[ScoreMod, ...] = ()
    learned: tuple[LearnedBias, ...] = ()
    value_rotation: ValueRotation = ValueRotation.NONE
    value_terms: tuple[RelativeValues, ...] = ()
    inputs: tuple[InputEncoding, ...] = ()

    def __post_init__(self) -> None:
        several = len(self.position_map.regions) > 1
        if several and self.keys_settle_at_birth:
            raise RopewalkError(
                f"policy=at_birth with a map of {len(self.position_map.regions)} regions: its keys "
                "are stored rotated, which needs one position a key; use policy=per_query"
            )
        if self.position_map != Identity() and self.tile_rows is not None:
            raise RopewalkError(
                "waves that decay with the distance under a position map: expected true "
                "distances; drop the map"
            )
        if self.value_rotation is not ValueRotation.NONE and (
            self.settled_length is None or self.position_map != Identity()
        ):
            raise RopewalkError(
                "rotated values under a map or frequencies that follow the length: expected one "
                "rotation for each position; drop one of them"
            )

    @property
    def rotation(self) -> Frequencies:
        """``frequencies`` of an encoding that rotates; RopewalkError where nothing does."""
        if self.frequencies is None:
            raise RopewalkError(
                "an encoding without rotation has no frequencies: expected one that rotates, "
                "such as none or yarn"
            )
        return self.frequencies

    @property
    def key_storage(self) -> KeyStorage:
        """Rotated if and only if there is one key map and a key's L is settled at its birth."""
        one_key_map = len(self.position_map.regions) == 1
        settled = not self.row_dependent or self.length_policy.keys_settle_at_birth
        bounded = self.tile_rows is None
        return KeyStorage.ROTATED if one_key_map and settled and bounded else KeyStorage.UNROTATED

    @property
    def tile_rows(self) -> int | None:
        """Rows that may share an origin of positions (``Frequencies.tile_rows``)."""
        return None if self.frequencies is None else self.frequencies.tile_rows

    @property
    def keys_settle_at_birth(self) -> bool:
        """Whether a key keeps the L of the call that wrote it, unlike its readers' L."""
        return self.row_dependent and self.length_policy.keys_settle_at_birth

    @property
    def length_dependent(self) -> bool:
        """Whether waves change with L."""
        return self.frequencies is not None and self.frequencies.length_dependent

    @property
    def row_dependent(self) -> bool:
        """Whether two rows of one sequence may see different frequencies."""
        return self.length_dependent and self.settled_length is None

    @property
    def settled_length(self) -> int | None:
        """The one L of every row and key where there is one, whatever the call; else None."""
        if not self.length_dependent:
            return self.geometry.trained_length
        return self.length_policy.settled_length

    @property
    def path_independent(self) -> bool:
        """Whether full pass, chunked prefill and decoding compute the same."""
        return not self.length_dependent or self.length_policy.path_independent

    @property
    def rotation_only(self) -> bool:
        """One base, true positions, plain scores: cos and sin alone carry the encoding."""
        return (
            self.frequencies is not None
            and self.settled_length is not None
            and self.position_map == Identity()
            and self.key_storage is KeyStorage.ROTATED
            and not (self.score_mods or self.learned or self.values_encoded)
        )

    @property
    def values_encoded(self) -> bool:
        """Whether values have a rotation or a relative term."""
        return self.value_rotation is not ValueRotation.NONE or bool(self.value_terms)

    def row_lengths(self, positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        """L ``[b, m]`` that each row sees; constant where frequencies do not depend on it."""
        if self.settled_length is not None:
            return torch.full_like(positions, self.settled_length)
        return self.length_policy.row_lengths(positions, sequence_lengths)

    def birth_lengths(self, key_positions: Tensor, sequence_lengths: Tensor) -> Tensor:
        """L ``[b, n]`` of keys that a call writes, where they are stored rotated."""
        if self.settled_length is not None:
            return torch.full_like(key_positions, self.settled_length)
        return self.length_policy.birth_lengths(key_positions, sequence_lengths)

    def turn(
        self,
        side: Side,
        positions: Tensor,
        lengths: int | Tensor,
        *,
        first_channel: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> Turn | None:
        """How vectors of ``dtype`` at ``positions`` ``[...]`` are rotated; None for not at all.

        lengths  L: one for all, or int64 of the shape of ``positions``
        """
        if self.frequencies is None:
            return None
        return Turn.of_wave(
            self.frequencies.wave(positions, lengths, side),
            pairing=self.geometry.pairing,
            first_channel=first_channel,
            dtype=dtype,
        )

    def query_scale(self, rows: Tensor) -> Tensor:
        """tau: the product of all score modifications' scales, float64, shape of ``rows``."""
        scale = torch.ones_like(rows, dtype=torch.float64)
        for mod in self.score_mods:
            scale = scale * mod.query_scale(rows)
        return scale

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor | None:
        """Sum of the biases without parameters, or None."""
        biases = [b for mod in self.score_mods if (b := mod.bias(heads, rows, keys)) is not None]
        return sum(biases[1:], biases[0]) if biases else None

    @property
    def biased(self) -> bool:
        """Whether anything is added to the scores."""
        return bool(self.learned or self._biases)

    @property
    def trained(self) -> bool:
        """Whether it is part of a model's training: with parameters, or added to embeddings."""
        return bool(self.learned or self.value_terms or self.inputs)

    @property
    def biased_by_distance(self) -> bool:
        """Whether something is added to the scores that is a function of the distance alone."""
        terms: tuple[ScoreMod | LearnedBias, ...] = (*self._biases, *self.learned)
        return bool(terms) and all(term.distance_alone for term in terms)

    @property
    def _biases(self) -> tuple[ScoreMod, ...]:
        here = torch.zeros(1, 1, dtype=torch.long)
        return tuple(mod for mod in self.score_mods if mod.bias(1, here, here) is not None)

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        """Parameters of one layer before training, from torch's random numbers; often none."""
        found: dict[str, Tensor] = {}
        terms: tuple[LearnedBias | RelativeValues, ...] = (*self.learned, *self.value_terms)
        for term in terms:
            found.update(term.init(shape))
        return found

    def of_queries(self, parameters: Parameters, hidden: Tensor) -> dict[str, Tensor]:
        """What biases read of the hidden states ``[b, m, width]`` of rows."""
        found: dict[str, Tensor] = {}
        for term in self.learned:
            found.update(term.of_queries(parameters, hidden))
        return found

    def of_keys(self, parameters: Parameters, hidden: Tensor) -> dict[str, Tensor]:
        """What biases read of the hidden states ``[b, n, width]`` of keys."""
        found: dict[str, Tensor] = {}
        for term in self.learned:
            found.update(term.of_keys(parameters, hidden))
        return found

    def of_heads(self, first: int, all_heads: int) -> "Encoding":
        """The same for query heads from ``first`` on, of ``all_heads``: biases may differ by head.

        Raises RopewalkError for terms with parameters, whose heads are the model's.
        """
        if self.learned or self.value_terms:
            raise RopewalkError(
                "terms with parameters over some heads of a layer: expected all of its heads; run "
                "the model on one rank"
            )
        mods = tuple(of_heads(mod, first, all_heads) for mod in self.score_mods)
        return replace(self, score_mods=mods)

    def unrotated(self) -> "Encoding":
        """What is left of it over queries and keys that are rotated already, at their places."""
        return replace(
            self, frequencies=None, position_map=Identity(), value_rotation=ValueRotation.NONE
        )

    def paired(self, pairing: Pairing) -> "Encoding":
        """The same over a checkpoint of another pairing."""
        return replace(self, geometry=replace(self.geometry, pairing=pairing))
