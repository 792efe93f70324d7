"""Schedules that change the frequencies of another one, whatever it is.

    theta_i' = g_i(theta_i(L))

theta_i(L)  what the other schedule gives pair i; its attention factor is kept
"""

from abc import abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifiedFrequencies(Frequencies):
    """``scheduled`` is the other schedule, ``geometry`` the checkpoint's."""

    geometry: RopeGeometry
    scheduled: Frequencies

    @abstractmethod
    def modified(self, theta: Tensor) -> Tensor:
        """theta' of theta, both float64 ``[f]``."""

    def over(self, scheduled: Frequencies) -> "ModifiedFrequencies":
        """The same change of another schedule.

        Raises RopewalkError for one whose waves are more than an angle that grows with the
        position: LongRoPE's start tokens, xPos' decay.
        """
        if not scheduled.shift_invariant or scheduled.tile_rows is not None:
            raise RopewalkError(
                "start tokens or waves that decay under modified frequencies: expected frequencies "
                "that hold for every position; drop one of the parts"
            )
        return replace(self, scheduled=scheduled)

    def inv_freq(self, context_length: int) -> Tensor:
        return self.modified(self.scheduled.inv_freq(context_length))

    def attention_factor(self, context_length: int) -> float:
        return self.scheduled.attention_factor(context_length)

    @property
    def length_dependent(self) -> bool:
        return self.scheduled.length_dependent
