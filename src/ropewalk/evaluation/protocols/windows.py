"""What ``tail`` and ``curve`` share: W windows spread over a document, the last K tokens scored."""

from dataclasses import dataclass

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.parameters import tail_tokens, windows
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowProtocol(EvaluationProtocol):
    """The last ``tokens`` tokens of each of ``windows`` windows. A unit is a window."""

    tokens: int = tail_tokens()
    windows: int = windows()

    def scored(self, length: int, window: int) -> Targets:
        """The last K of the first ``length`` tokens of a sequence."""
        return Targets(length=length, window=window, first=length - self.tokens, last=length)

    def require_context(self, length: int) -> None:
        """Raises RopewalkError unless ``length`` leaves context before the scored tokens."""
        if length <= self.tokens:
            raise RopewalkError(
                f"length {length}: {self.name} scores {self.tokens} tokens of it and needs at "
                f"least one before them; ask for a length above {self.tokens} or for fewer scored "
                "tokens"
            )

    def shifts(self, document: Document) -> tuple[int, ...]:
        """Tokens from the first window to each: j (N // (2 W)) for W windows of N tokens.

        Raises RopewalkError if neighbouring windows would score the same token twice.
        """
        spacing = len(document) // (2 * self.windows)
        if self.windows > 1 and spacing < self.tokens:
            raise RopewalkError(
                f"document {document.name!r} has {len(document)} tokens: {self.name} with "
                f"{self.windows} windows of {self.tokens} scored tokens needs "
                f"{2 * self.windows * self.tokens}; give a longer text, fewer windows or fewer "
                "scored tokens"
            )
        return tuple(window * spacing for window in range(self.windows))
