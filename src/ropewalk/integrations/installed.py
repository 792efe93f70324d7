"""What an extension put into a model: records, so that a copy of the model has its own."""

from dataclasses import dataclass

from torch import nn

from ropewalk.integrations.entrance import Entrance, PositionsEntrance
from ropewalk.integrations.guards import Guards
from ropewalk.integrations.own_config import OwnConfig
from ropewalk.integrations.rotary import EncodedRotary, UnrotatedRotary
from ropewalk.integrations.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InstalledRotary:
    """A rotary module of ours in the place of the library's.

    A record and not a closure: copied with the model, it speaks of the copy's own modules.
    """

    parent: nn.Module
    attribute: str
    ours: EncodedRotary | UnrotatedRotary

    @property
    def in_place(self) -> bool:
        """Whether it is there still."""
        return getattr(self.parent, self.attribute) is self.ours

    def undo(self) -> None:
        setattr(self.parent, self.attribute, self.ours.stock)


class Parts:
    """Everything that an extension put into a model."""

    def __init__(self) -> None:
        self.guards: Guards | None = None
        self.config: OwnConfig | None = None
        self.rotaries: list[InstalledRotary] = []
        self.entrances: list[Entrance | PositionsEntrance] = []
        self.route: Route | None = None

    @property
    def installed(self) -> bool:
        return bool(self.rotaries)

    def undo(self) -> None:
        if self.route is not None:
            self.route.undo()
        parts: list[InstalledRotary | Entrance | PositionsEntrance] = [
            *self.rotaries,
            *self.entrances,
        ]
        for part in parts:
            part.undo()
        for kept in (self.config, self.guards):
            if kept is not None:
                kept.undo()
