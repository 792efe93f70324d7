"""Protocols by name, and what is chosen for them where nothing is said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.chunkllama import ChunkLlama
from ropewalk.evaluation.curve import Curve
from ropewalk.evaluation.first_tokens import NormXU, YarnTruncated
from ropewalk.evaluation.prefix import Prefix
from ropewalk.evaluation.press import Press, PressSliding
from ropewalk.evaluation.protocols import EvaluationProtocol
from ropewalk.evaluation.rerope import ReRoPE
from ropewalk.evaluation.sliding import Sliding
from ropewalk.evaluation.strided import PUBLISHED_STRIDE, LongRoPE, PoSE, Yarn
from ropewalk.evaluation.tail import Tail

DEFAULT_WINDOWS = 8
LARGEST_TAIL = 1024
PUBLISHED_TAIL = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was said about a protocol; None where nothing was."""

    trained_length: int
    lengths: Sequence[int]
    windows: int
    tail_tokens: int | None
    stride: int | None

    @property
    def quarter(self) -> int:
        """A quarter of the trained length."""
        return max(self.trained_length // 4, 1)

    @property
    def tail(self) -> int:
        """Scored tokens of a window: by default L0 / 4, at most 1,024."""
        return _given(self.tail_tokens, min(self.quarter, LARGEST_TAIL))

    @property
    def text(self) -> int:
        """Tokens of a text that count: four times the longest length."""
        return 4 * self.lengths[-1]

    @property
    def published_stride(self) -> int:
        return _given(self.stride, PUBLISHED_STRIDE)


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _sliding(asked: Asked) -> EvaluationProtocol:
    by_default = max(min(asked.quarter, asked.lengths[0] // 2), 1)
    return Sliding(stride=_given(asked.stride, by_default), tokens=asked.text)


def _rerope(asked: Asked) -> EvaluationProtocol:
    return ReRoPE(tokens=_given(asked.tail_tokens, min(PUBLISHED_TAIL, asked.lengths[0])))


Build = Callable[[Asked], EvaluationProtocol]

PROTOCOLS: Mapping[str, Build] = MappingProxyType(
    {
        "tail": lambda asked: Tail(tokens=asked.tail, windows=asked.windows),
        "curve": lambda asked: Curve(tokens=asked.tail, windows=asked.windows),
        "prefix": lambda asked: Prefix(),
        "sliding": _sliding,
        "normxu": lambda asked: NormXU(),
        "yarn": lambda asked: Yarn(stride=asked.published_stride, tokens=asked.text),
        "yarn_truncated": lambda asked: YarnTruncated(),
        "longrope": lambda asked: LongRoPE(stride=asked.published_stride),
        "pose": lambda asked: PoSE(stride=asked.published_stride, tokens=asked.text),
        "chunkllama": lambda asked: ChunkLlama(stride=asked.published_stride, tokens=asked.text),
        "rerope": _rerope,
        "press": lambda asked: Press(tokens=asked.text),
        "press_sliding": lambda asked: PressSliding(tokens=asked.text),
    }
)
STRIDED = ("sliding", "yarn", "longrope", "pose", "chunkllama")
SCORING_A_TAIL = ("tail", "curve", "rerope")


def read_protocol(
    name: str,
    trained_length: int,
    *,
    windows: int,
    tail_tokens: int | None,
    stride: int | None,
    lengths: Sequence[int],
) -> EvaluationProtocol:
    """The protocol with what was not given chosen from the trained length L0 and the lengths.

    tail and curve score L0 / 4 tokens of a window (at most 1,024), rerope 4,096 or as many as
    the shortest length has. sliding moves by half the shortest length, at most L0 / 4; published
    rules by 256. A text counts to four times the longest length, where a rule has a limit.
    Raises RopewalkError for an unknown name, or an option that the protocol does not have.
    """
    if name not in PROTOCOLS:
        raise RopewalkError(f"protocol {name}: expected one of {', '.join(PROTOCOLS)}")
    for option, given, having in (
        ("--stride", stride, STRIDED),
        ("--tail-tokens", tail_tokens, SCORING_A_TAIL),
    ):
        if given is not None and name not in having:
            raise RopewalkError(
                f"{option} with protocol {name}: only {', '.join(having)} have it; drop it"
            )
    return PROTOCOLS[name](
        Asked(
            trained_length=trained_length,
            lengths=lengths,
            windows=windows,
            tail_tokens=tail_tokens,
            stride=stride,
        )
    )
