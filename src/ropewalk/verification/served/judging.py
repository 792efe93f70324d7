"""What a server told, beside what the local model predicts under each encoding on offer."""

from collections.abc import Callable

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Unit
from ropewalk.methods.by_layer import Encode
from ropewalk.verification.identification import Judgement, Residuals, distinct, nearest
from ropewalk.verification.served.offer import Candidate, Offer

Differences = Callable[[Encode], Tensor]
"""What the server told minus what the local model makes of the same tokens under an encoding,
float64 ``[r, k]``; RopewalkError for an encoding that the model cannot have."""
Progress = Callable[[str, float], None]


def judged(
    offer: Offer, differences: Differences, unit: Unit, rows: Tensor, progress: Progress
) -> Judgement:
    """The nearest encoding, beside the encodings close to it.

    rows  int64 ``[r]``: the positions of the differences
    """

    def compared(candidate: Candidate) -> Residuals | None:
        try:
            signed = differences(candidate.encode)
        except RopewalkError:
            return None
        return Residuals(name=candidate.name, findings=candidate.findings, signed=signed)

    candidates, found = offer.candidates(), []
    for number, each in enumerate(candidates):
        progress(each.name, number / len(candidates))
        found.append(compared(each))
    kept = distinct([each for each in found if each is not None])
    best, _ = nearest(kept)
    beside = offer.beside(next(each for each in candidates if each.name == best.name))
    close = [other for each in beside if (other := compared(each)) is not None]
    return Judgement.of(kept, close, unit, rows=rows, table_ends=offer.table_ends)
