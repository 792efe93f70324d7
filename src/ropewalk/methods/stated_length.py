"""How long a context an extended model states, for who asks its config.

    N = reach(s * L0)

s is the factor of a method that has one base (1 without), reach that of its position map: the
longest context with every distance below s * L0. A method without a bound states what was reported
for it without training (``Method.reach``), one with ``length`` that. Never less than the config
says. ``generate`` warns beyond that length, lm-evaluation-harness cuts texts to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ropewalk.core.encoding import Encoding
from ropewalk.methods.spec import FACTOR, NATIVE, Spec
from ropewalk.methods.table import METHODS
from ropewalk.positions.reach import ReachingMap

_KEY = "max_position_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLength:
    """Of a method in a model.

    tokens   N; None where nothing is known beyond what the config says
    bounded  whether the method or the config names a longest context; else the encoding follows
             the text or reaches any length, and ``tokens`` is what was reported
    """

    tokens: int | None
    bounded: bool

    @classmethod
    def of(cls, spec: Spec, encoding: Encoding) -> "StatedLength":
        """Of a spec with every factor a number, and the encoding that it gives."""
        if [part.name for part in spec.parts] == [NATIVE]:
            return cls(tokens=None, bounded=True)
        given = [dict(part.arguments) for part in spec.parts]
        lengths = [each["length"] for each in given if isinstance(each.get("length"), int)]
        if lengths:
            return cls(tokens=max(int(str(each)) for each in lengths), bounded=True)
        trained, bounds = encoding.geometry.trained_length, encoding.position_map
        factors = [] if encoding.length_dependent else [each.get(FACTOR) for each in given]
        stated = [float(each) for each in factors if isinstance(each, int | float)]
        span = int(trained * max([1.0, *stated]))
        reach = span if stated else None
        if isinstance(bounds, ReachingMap):
            reach = bounds.reach(span)
        if reach is not None:
            return cls(tokens=reach, bounded=True)
        reported = _reported(part.name for part in spec.parts)
        return cls(
            tokens=None if reported is None else int(max(span, reported * trained)),
            bounded=not (isinstance(bounds, ReachingMap) or encoding.length_dependent),
        )

    def within(self, admitted: int) -> int:
        """N, and no less than the ``admitted`` tokens of a config."""
        return max(self.tokens or 0, admitted)

    def state_in(self, config: Any) -> None:
        """Write it into a config, where that says less."""
        text = config.get_text_config(decoder=True)
        now = getattr(text, _KEY, None)
        if self.tokens is not None and isinstance(now, int):
            setattr(text, _KEY, self.within(now))


UNSTATED = StatedLength(tokens=None, bounded=True)
"""Of a model that keeps what it has."""


def _reported(names: Iterable[str]) -> float | None:
    known = [METHODS[name].reach for name in names if name in METHODS]
    return max((reach.untuned for reach in known if reach is not None), default=None)
