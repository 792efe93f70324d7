"""What a plan is made for: a checkpoint, what it reaches as it is, and the length wanted."""

from dataclasses import dataclass

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.reach import pretrained_length, tuned_length
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A checkpoint and a length.

    shape       what its config says
    section     of it, what it says about positions
    pretrained  tokens before any scaling, None where nothing says
    reach       tokens that the checkpoint was tuned to, as it is shipped
    length      N, tokens asked for
    """

    shape: ModelShape
    section: RopeSection
    pretrained: int | None
    reach: int
    length: int

    @classmethod
    def of(cls, shape: ModelShape, length: int, trained_length: int | None = None) -> "Target":
        """The checkpoint as its config says it, or as somebody knows it better.

        trained_length  tokens that it was trained at where no scaling is shipped (a card may say
                        less than ``max_position_embeddings``), tuned to where one is

        Raises RopewalkError for a bad rotation or a length out of 2 .. 2^40 tokens.
        """
        _check(length, "length")
        if trained_length is None:
            return cls._read(shape, length)
        _check(trained_length, "trained_length")
        if shape.rope().rope_type == "default":
            return cls._read(shape.admitting(trained_length), length)
        read = cls._read(shape, length)
        return cls(
            shape=read.shape,
            section=read.section,
            pretrained=read.pretrained,
            reach=trained_length,
            length=length,
        )

    @classmethod
    def _read(cls, shape: ModelShape, length: int) -> "Target":
        section = shape.rope()
        return cls(
            shape=shape,
            section=section,
            pretrained=pretrained_length(section),
            reach=tuned_length(section),
            length=length,
        )

    @property
    def trained_length(self) -> int:
        """L0, which the methods' factors refer to."""
        return self.section.trained_length

    @property
    def factor(self) -> float:
        """N / L0, at least 1: the smallest factor that reaches."""
        return max(1.0, self.length / self.trained_length)

    @property
    def stretch(self) -> float:
        """N over what the checkpoint reaches as it is."""
        return self.length / self.reach

    @property
    def is_scaled(self) -> bool:
        """Whether the checkpoint is shipped with a scaling that takes it past L0."""
        return self.reach > self.trained_length


def _check(length: int, name: str) -> None:
    plain = isinstance(length, int) and not isinstance(length, bool)
    if not plain or not 2 <= length <= LARGEST_LENGTH:
        raise RopewalkError(f"{name}={length!s:.40}: expected 2 to 2^40 tokens")
