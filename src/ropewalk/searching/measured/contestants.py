"""The model of a search, and what competes: fixed schedules, and what they are laid over."""

from dataclasses import dataclass, replace
from typing import Any

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.language_model import LanguageModel
from ropewalk.evaluation.jobs import ModelSource
from ropewalk.searching.candidate import Candidate, Schedule
from ropewalk.searching.run import Contest
from ropewalk.searching.schedules import closed_form_ramp, fixed_schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model of a search.

    name      for people
    weights   what identifies weights and config
    dtype     of both, as ``float32``
    geometry  of the layers that turn and see farthest
    native    the encoding that it ships with
    tokenizer  a fast one of transformers, or what ``Document`` and ``Tokens`` ask for
    model     opened, as it ships
    source    opens it anywhere
    """

    name: str
    weights: str
    dtype: str
    geometry: RopeGeometry
    native: Encoding
    tokenizer: Any
    model: LanguageModel
    source: ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestants:
    """What a search has to beat, and what its schedules are laid over.

    contest   the bar, the ramp beside the winner, what is tried besides
    geometry  whose trained length is stretched
    over      factors that the model was tuned with; None: plain RoPE
    reach     tokens that schedules stretch to; by default the length of the documents
    """

    contest: Contest
    geometry: RopeGeometry
    over: Candidate | None = None
    reach: int | None = None

    @classmethod
    def of(cls, subject: Subject, length: int) -> "Contestants":
        """The published schedules, and the model's own encoding where it is not plain RoPE.

        Raises RopewalkError where nothing rotates, or the length is within the trained one.
        """
        geometry = subject.geometry
        if length <= geometry.trained_length:
            raise RopewalkError(
                f"length {length} is within the trained length {geometry.trained_length}: expected "
                "a longer one; nothing has to be extended up to there"
            )
        own = Candidate.from_frequencies(subject.native.rotation, length)
        known = fixed_schedules(geometry, length)
        shipped = () if own in {each.candidate for each in known} else (own,)
        return cls(
            contest=Contest(
                fixed=(*known, *(Schedule(name="native", candidate=each) for each in shipped)),
                ramp=closed_form_ramp(geometry, length),
            ),
            geometry=geometry,
        )

    @classmethod
    def over_tuned(
        cls, subject: Subject, tuned: Candidate, tuned_length: int, length: int
    ) -> "Contestants":
        """For a model that was tuned with factors: these, and every schedule laid over them.

        tuned_length  tokens that it was tuned at, from which schedules stretch
        """
        geometry = replace(subject.geometry, trained_length=tuned_length)

        def laid(schedule: Schedule) -> Schedule:
            return Schedule(
                name=f"{schedule.name} over the tuned factors",
                candidate=schedule.candidate.over(tuned),
            )

        fixed = [laid(each) for each in fixed_schedules(geometry, length)]
        own = Schedule(name="the tuned factors", candidate=tuned)
        return cls(
            contest=Contest(
                fixed=(own, *(each for each in fixed if each.candidate != tuned)),
                ramp=laid(closed_form_ramp(geometry, length)),
            ),
            geometry=geometry,
            over=tuned,
        )

    @classmethod
    def for_short(
        cls, subject: Subject, in_force: Candidate, tuned: Candidate, tuned_length: int
    ) -> "Contestants":
        """For lengths within the trained one, of a model that was tuned with factors.

        in_force  the list of the whole length, the bar: without a better one it serves all lengths
        """
        geometry = subject.geometry
        own = Schedule(name="the tuned factors", candidate=tuned)
        return cls(
            contest=Contest(
                fixed=(Schedule(name="the list of the whole length", candidate=in_force),),
                ramp=closed_form_ramp(geometry, tuned_length),
                tried=(own, *fixed_schedules(geometry, tuned_length)),
            ),
            geometry=geometry,
            reach=tuned_length,
        )
