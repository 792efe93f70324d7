"""Losses of a loaded model on documents at hand, without a run folder."""

from collections.abc import Sequence

from torch import Tensor, nn

from ropewalk.comparing.setup import beginnings, run_of
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.documents import Document, Tokenizer
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.request import Request
from ropewalk.evaluation.runs import NoStore
from ropewalk.integrations.wrappers import measured
from ropewalk.opening.checkpoints import ModelInMemory


def losses(
    model: nn.Module,
    request: Request,
    documents: Sequence[str | Tensor],
    tokenizer: Tokenizer | None,
    *,
    bos: str,
    progress: Progress | None,
    batch: int,
) -> list[Record]:
    """One record a cell. Raises RopewalkError for bad input."""
    model = measured(model)
    begins = beginnings(request.protocol, tokenizer, bos)
    run = run_of(
        model,
        request,
        name=type(model).__name__,
        weights="not kept",
        documents=tuple(
            Document.given(f"document {number}", each, tokenizer, begins["opening"])
            for number, each in enumerate(documents, start=1)
        ),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        bos=begins["bos"],
    )
    results = measure(
        run.setting, run.series, ModelInMemory(model), NoStore(), progress=progress, batch=batch
    )
    return [result.record() for result in results]
