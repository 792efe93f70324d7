"""Input encodings: what is added to embeddings, outside of the equation."""

from abc import ABC, abstractmethod

from torch import Tensor

from ropewalk.core.score_mods import Parameters


class InputEncoding(ABC):
    """A vector for each position. Its parameters live in the model."""

    def init(self, width: int) -> dict[str, Tensor]:
        """Parameters before training, float32, from torch's random numbers; often none."""
        return {}

    def embedding_scale(self, width: int) -> float:
        """What multiplies embeddings before anything is added."""
        return 1.0

    @abstractmethod
    def added(self, parameters: Parameters, positions: Tensor, width: int) -> Tensor:
        """``[..., width]`` to add to the embeddings of ``positions`` ``[...]``.

        Raises RopewalkError for positions past the end of a table.
        """
