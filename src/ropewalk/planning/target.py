"""What a plan is made for: a checkpoint, what it reaches as it is, and the length wanted."""

from dataclasses import dataclass

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A checkpoint and a length.

    section  what the config says about positions
    reach    tokens that the checkpoint covers as it is shipped
    length   N, tokens wanted
    """

    section: RopeSection
    reach: int
    length: int

    @classmethod
    def of(cls, shape: ModelShape, length: int) -> "Target":
        """Raises RopewalkError for a bad rotation or a length out of 2 .. 2^40 tokens."""
        section = shape.rope()
        plain = isinstance(length, int) and not isinstance(length, bool)
        if not plain or not 2 <= length <= LARGEST_LENGTH:
            raise RopewalkError(f"length={length!s:.40}: expected 2 to 2^40 tokens")
        return cls(section=section, reach=_reach(section), length=length)

    @property
    def trained_length(self) -> int:
        """L0, which the methods' factors refer to."""
        return self.section.trained_length

    @property
    def factor(self) -> float:
        """N / L0, at least 1."""
        return max(1.0, self.length / self.trained_length)

    @property
    def stretch(self) -> float:
        """N over what the checkpoint reaches as it is."""
        return self.length / self.reach

    @property
    def is_scaled(self) -> bool:
        """Whether the checkpoint is shipped with a scaling that takes it past L0."""
        return self.reach > self.trained_length


def _reach(section: RopeSection) -> int:
    """max_position_embeddings; YaRN's factor * L0 where that is more; L0 under dynamic NTK.

    Linear's and Llama 3's factors are not taken: configs state their whole reach.
    """
    longest = section.max_position_embeddings
    if section.rope_type == "dynamic" and not section.parameters.get("alpha"):
        return min(longest, section.trained_length)
    factor = section.number("factor") or 1.0
    if section.rope_type != "yarn" or not 1 <= factor <= LARGEST_LENGTH / section.trained_length:
        return longest
    return max(longest, int(factor * section.trained_length))
