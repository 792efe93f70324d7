"""Where an encoding enters a model."""

from enum import Enum

from ropewalk.integrations.choice import Wanted


class Seam(Enum):
    """Where an encoding enters the model. Derived from the encodings of its layers."""

    ROTARY = "the rotary module alone; the library's attention and cache stay as they are"
    ATTENTION = "an attention function, under a cache of un-rotated keys"

    @classmethod
    def of(cls, wanted: Wanted) -> "Seam":
        """Of a model whose layers want these."""
        encodings = list(wanted.values())
        one = all(each == encodings[0] for each in encodings) and encodings[0].rotation_only
        return cls.ROTARY if one else cls.ATTENTION
