"""What a plan tries, in this order: each method with the parameters that a target needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ropewalk.methods.clipped import CLIPPED
from ropewalk.methods.dual_chunk import DUAL_CHUNK
from ropewalk.methods.linear import LINEAR
from ropewalk.methods.longrope import LONGROPE
from ropewalk.methods.method import Method, Promise, Reach
from ropewalk.methods.ntk import DYNAMIC_NTK, NTK_AWARE
from ropewalk.methods.rerope import LEAKY_REROPE, REROPE
from ropewalk.methods.self_extend import SELF_EXTEND
from ropewalk.methods.unscaled import ABF, NONE
from ropewalk.methods.yarn import DYNAMIC_YARN, LLAMA3, NTK_BY_PARTS, YARN
from ropewalk.planning.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One method, and how far its record says that it carries.

    spec    the method for a target; None where something else has to be found first
    served  the same as engines with static tables can have it
    """

    method: Method
    spec: Callable[[Target], str | None]
    served: Callable[[Target], str | None] | None = None

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def replaces(self) -> bool:
        """Whether it takes the place of a scaling that the checkpoint was trained with."""
        return Promise.ONE_MAP in self.method.promises

    @property
    def reach(self) -> Reach:
        assert self.method.reach is not None
        return self.method.reach


def _with_factor(method: str, times: float = 1.0) -> Callable[[Target], str]:
    return lambda target: f"{method}:factor={_short(target.factor * times)}"


def _at_length(method: str) -> Callable[[Target], str]:
    return lambda target: f"{method}:policy=fixed,length={target.length}"


def _over_native(target: Target, arguments: str) -> str:
    """A position map beside the scaling that the checkpoint was trained with."""
    return f"native+{arguments}" if target.is_scaled else arguments


def _dual_chunk(target: Target) -> str:
    window = target.reach - 3 * target.reach // 4
    size = target.reach - window
    return _over_native(target, f"dual_chunk:chunk_size={size},local_window={window}")


def _rerope(target: Target) -> str:
    return _over_native(target, f"rerope:window={max(target.reach // 2, 1)}")


def _self_extend(target: Target) -> str:
    """A window of a quarter of the reach, and groups that fit the rest into three quarters."""
    window = max(target.reach // 4, 1)
    group = max(1, math.ceil((target.length - window) / (target.reach - window)))
    return _over_native(target, f"self_extend:group_size={group},window={window}")


def _leaky_rerope(target: Target) -> str:
    window = max(target.reach // 4, 1)
    slope = max(1.0, (target.length - 1 - window) / max(target.reach - 1 - window, 1))
    return _over_native(target, f"leaky_rerope:slope={_short(slope)},window={window}")


def _abf(target: Target) -> str:
    """The smallest base for a context of N tokens, and never a smaller one than before."""
    base = max(target.section.rope_theta, 0.0424 * float(target.length) ** 1.628)
    return f"abf:rope_theta={_short(base)}"


def _clipped(target: Target) -> str:
    """Over the base that a training at the length would raise, as its source trained it."""
    return f"{_abf(target)}+clipped"


def _short(value: float) -> str:
    """Rounded up at the seventh digit, so that a factor still reaches its length."""
    if value == int(value):
        return str(int(value))
    digits = 6 - math.floor(math.log10(value))
    scaled = math.ceil(round(value * 10.0**digits, 3)) / 10.0**digits
    return repr(scaled)


CANDIDATES = (
    Candidate(method=DUAL_CHUNK, spec=_dual_chunk),
    Candidate(method=SELF_EXTEND, spec=_self_extend),
    Candidate(method=REROPE, spec=_rerope),
    Candidate(method=LEAKY_REROPE, spec=_leaky_rerope),
    Candidate(
        method=DYNAMIC_YARN, spec=lambda target: "dynamic_yarn", served=_at_length("dynamic_yarn")
    ),
    Candidate(method=YARN, spec=_with_factor("yarn")),
    Candidate(
        method=DYNAMIC_NTK, spec=lambda target: "dynamic_ntk", served=_at_length("dynamic_ntk")
    ),
    Candidate(method=NTK_BY_PARTS, spec=_with_factor("ntk_by_parts")),
    Candidate(method=NTK_AWARE, spec=_with_factor("ntk_aware", times=2.0)),
    Candidate(method=LLAMA3, spec=_with_factor("llama3")),
    Candidate(method=LONGROPE, spec=lambda target: None),
    Candidate(method=ABF, spec=_abf),
    Candidate(method=CLIPPED, spec=_clipped),
    Candidate(method=LINEAR, spec=_with_factor("linear")),
    Candidate(method=NONE, spec=lambda target: "none"),
)
