"""What a server told, beside what the local model predicts under each encoding on offer."""

from collections.abc import Callable

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation
from ropewalk.methods.by_layer import Encode
from ropewalk.verification.identification import Compared, Judgement, distinct, nearest
from ropewalk.verification.predictor import Predictions
from ropewalk.verification.served.offer import Candidate, Offer

Predict = Callable[[Encode], Predictions]
"""The same tokens under an encoding; RopewalkError for one that the model cannot have."""
Progress = Callable[[str, float], None]


def judged(offer: Offer, told: Observation, predict: Predict, progress: Progress) -> Judgement:
    """The nearest encoding, beside the encodings close to it."""

    def compared(candidate: Candidate) -> Compared | None:
        try:
            signed = told.differences(predict(candidate.encode))
        except RopewalkError:
            return None
        return Compared(name=candidate.name, findings=candidate.findings, signed=signed)

    candidates, found = offer.candidates(), []
    for number, each in enumerate(candidates):
        progress(each.name, number / len(candidates))
        found.append(compared(each))
    kept = distinct([each for each in found if each is not None])
    best, _ = nearest(kept)
    beside = offer.beside(next(each for each in candidates if each.name == best.name))
    close = [other for each in beside if (other := compared(each)) is not None]
    return Judgement.of(kept, close)
