"""How much of a forward pass this process feeds: all of it, or some of its tokens.

Ranks that read one sequence together feed some of its tokens each, and meet in attention alone
(``ropewalk.integrations.ranked``). The hook hands on what is said here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import Tensor, nn

from ropewalk.integrations.forward_arguments import ForwardArguments
from ropewalk.integrations.layer_attention import LayerAttention


class Share(ABC):
    """The tokens of one pass that are fed here.

    tokens  m, of the whole pass
    """

    tokens: int

    @abstractmethod
    def own(self, x: Tensor) -> Tensor:
        """Of what every token of the pass has, ``[b, m, ...]``, that of the tokens fed here."""

    @abstractmethod
    def covered(self, fed: int, keys: int) -> int:
        """Keys that the mask of a layer covers, where ``fed`` tokens are among ``keys``."""


class Feeding(ABC):
    """Which tokens of each pass are fed here, and what that asks of attention."""

    asks_attention: ClassVar[bool]
    """Whether attention has to be ours, even where a rotary module carries the whole encoding."""

    @abstractmethod
    def prepared(self, given: ForwardArguments) -> ForwardArguments:
        """The arguments of a pass, before anything is made of them."""

    @abstractmethod
    def share(self, given: ForwardArguments) -> Share | None:
        """Of such a pass; None where all of it is fed here."""

    @abstractmethod
    def attending(self, attention: LayerAttention, layer: int | None) -> LayerAttention:
        """A layer's attention where this much is fed. ``layer``: its number in the cache."""

    @abstractmethod
    def prove(
        self,
        model: nn.Module,
        family: str,
        put: "Callable[[Feeding], AbstractContextManager[Any]]",
    ) -> None:
        """Raise RopewalkError, by the family's name, where it changes what a model computes.

        put  puts the model's own encoding in for a block, under a feeding
        """


class Whole(Feeding):
    """Every token of every pass."""

    asks_attention = False

    def prepared(self, given: ForwardArguments) -> ForwardArguments:
        return given

    def share(self, given: ForwardArguments) -> Share | None:
        return None

    def attending(self, attention: LayerAttention, layer: int | None) -> LayerAttention:
        return attention

    def prove(
        self,
        model: nn.Module,
        family: str,
        put: Callable[[Feeding], AbstractContextManager[Any]],
    ) -> None:
        return None


WHOLE = Whole()
