"""Protocols by name: the one table of those that can be asked for."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.protocols.chunkllama import ChunkLlamaRule
from ropewalk.evaluation.protocols.curve import Curve
from ropewalk.evaluation.protocols.first_tokens import NormXURule, YarnTruncatedRule
from ropewalk.evaluation.protocols.parameters import STRIDE, TAIL_TOKENS, WINDOWS, Flag, Scope
from ropewalk.evaluation.protocols.prefix import Prefix
from ropewalk.evaluation.protocols.press import PressRule, PressSlidingRule
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol
from ropewalk.evaluation.protocols.rerope import ReRoPERule
from ropewalk.evaluation.protocols.sliding import Sliding
from ropewalk.evaluation.protocols.strided import LongRoPERule, PoSERule, YarnRule
from ropewalk.evaluation.protocols.tail import Tail

_ALL: tuple[type[EvaluationProtocol], ...] = (
    Tail,
    Curve,
    Prefix,
    Sliding,
    NormXURule,
    YarnRule,
    YarnTruncatedRule,
    LongRoPERule,
    PoSERule,
    ChunkLlamaRule,
    ReRoPERule,
    PressRule,
    PressSlidingRule,
)
PROTOCOLS: Mapping[str, type[EvaluationProtocol]] = MappingProxyType(
    {each.name: each for each in _ALL}
)


def having(flag: Flag) -> tuple[str, ...]:
    """Names of the protocols that have a flag."""
    return tuple(name for name, each in PROTOCOLS.items() if flag in each.flags())


def protocol_named(name: str) -> type[EvaluationProtocol]:
    """By name; RopewalkError for an unknown one."""
    if name not in PROTOCOLS:
        raise RopewalkError(f"protocol {name}: expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def read_protocol(
    name: str,
    trained_length: int,
    *,
    windows: int | None,
    tail_tokens: int | None,
    stride: int | None,
    lengths: Sequence[int],
) -> EvaluationProtocol:
    """The protocol, with what is None chosen from the trained length and the lengths, in tokens.

    Raises RopewalkError for an unknown name, or an option that the protocol does not have;
    ``windows`` is for those that have it.
    """
    protocol = protocol_named(name)
    for flag, value in ((STRIDE, stride), (TAIL_TOKENS, tail_tokens)):
        if value is not None and name not in having(flag):
            raise RopewalkError(
                f"--{flag.name.replace('_', '-')} with protocol {name}: only "
                f"{', '.join(having(flag))} have it; drop it"
            )
    given = {WINDOWS: windows, TAIL_TOKENS: tail_tokens, STRIDE: stride}
    scope = Scope(trained_length=trained_length, lengths=tuple(lengths))
    return protocol.chosen(
        scope, {flag: value for flag, value in given.items() if value is not None}
    )
