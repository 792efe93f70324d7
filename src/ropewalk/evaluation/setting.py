"""What all cells of a run have in common, and the name under which a cell is kept."""

from dataclasses import dataclass, field
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Cell
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol
from ropewalk.evaluation.tasks.loss import Loss
from ropewalk.evaluation.tasks.task import Task
from ropewalk.storage.folders import FORMAT, Key


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """Model, texts and protocol of a run.

    model           name as typed, for people
    trained_length  L0 in tokens
    weights         fingerprint of the weights: what identifies the model
    dtype           of the weights and activations, e.g. ``float32``
    code_version    version of the code that measures
    others          tasks beside the loss of the documents
    bos             text of the token with which a window of a document begins; None without one

    Raises RopewalkError without a document.
    """

    model: str
    trained_length: int
    weights: str
    dtype: str
    protocol: EvaluationProtocol
    documents: tuple[Document, ...]
    code_version: str
    others: tuple[Task, ...] = ()
    bos: str | None = None
    task: Loss = field(init=False)
    """What is measured: the loss of the documents as the protocol takes them."""

    def __post_init__(self) -> None:
        if not self.documents:
            raise RopewalkError("no document: expected at least one text to measure on")
        loss = Loss(protocol=self.protocol, texts=self.protocol.texts(self.documents))
        object.__setattr__(self, "task", loss)

    def task_of(self, text: str) -> Task:
        """The task of that text (``Task.text``)."""
        return next(each for each in (self.task, *self.others) if each.text == text)

    def manifest(self) -> dict[str, Any]:
        """What all cells have in common, for ``Folder.open``."""
        return {
            "version": self.code_version,
            "model": self.model,
            "trained_length": self.trained_length,
            "weights": self.weights,
            "dtype": self.dtype,
            "protocol": self.protocol.text,
            "documents": [
                {"name": d.name, "tokens": len(d), "sha256": d.digest} for d in self.documents
            ],
        }

    def key(self, cell: Cell) -> Key:
        """The cell's key. Spelling of the method and names of files do not enter it."""
        parts = {
            "format": FORMAT,
            "code_version": self.code_version,
            "weights": self.weights,
            "dtype": self.dtype,
            "protocol": self.protocol.text,
            "documents": [document.digest for document in self.documents],
            "openings": [document.opening for document in self.documents],
            "method": cell.method.canonical,
            "mode": cell.split.name,
            "length": cell.length,
            "task": cell.task,
        }
        return Key.of(parts)
