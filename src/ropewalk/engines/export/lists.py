"""Settled frequencies of any kind as LongRoPE's lists: a divisor for each pair.

    lambda_i = theta_i / theta_i'

theta_i   the speeds of unscaled RoPE, theta_i' the speeds wanted, in radians a token

The list stands in both places, so that no engine's rule for choosing one matters, and the
attention factor beside it is stated. A pair that stands still has no divisor: it is given one at
which no position turns it by as much as float32 rounds.

Source: transformers 5.23.0, modeling_rope_utils.py; vLLM 0.33.0, phi3_long_rope_scaled_rope.py;
    SGLang 0.5.23, rotary_embedding/rope_variant.py: each builds any model's rotation of lists.
"""

from types import MappingProxyType

from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.block import NoRopeType, RopeBlock, check_expressible, rope_block

STANDING = 1e-20
"""Radians a token of a pair that stands still: 2^40 tokens turn it by 1e-8."""


def rope_blocks(encoding: Encoding, length: int) -> tuple[RopeBlock, ...]:
    """The blocks that compute ``encoding``: of its own type, then of lists.

    Raises RopewalkError for what no block says.
    """
    check_expressible(encoding, length)
    lists = () if encoding.settled_length is None else (listed_block(encoding),)
    try:
        own = rope_block(encoding)
    except NoRopeType:
        return lists
    return (own, *(block for block in lists if own.rope_type != block.rope_type))


def divisors(encoding: Encoding) -> tuple[float, ...]:
    """lambda of a settled encoding, in float64.

    Raises RopewalkError where a pair turns backwards.
    """
    at = encoding.settled_length or encoding.geometry.trained_length
    wanted = encoding.rotation.inv_freq(at)
    if bool((wanted < 0).any()):
        raise RopewalkError("a pair that turns backwards has no divisor; expected speeds from 0 on")
    theta = encoding.geometry.inv_freq()
    return tuple((theta / wanted.clamp(min=STANDING)).tolist())


def listed_block(encoding: Encoding) -> RopeBlock:
    """``longrope`` with one list in both places."""
    found = list(divisors(encoding))
    at = encoding.settled_length or encoding.geometry.trained_length
    original = encoding.geometry.trained_length
    lists = {"short_factor": found, "long_factor": found, ORIGINAL: original}
    return RopeBlock(
        rope_type="longrope",
        rope_theta=encoding.geometry.rope_theta,
        parameters=MappingProxyType(lists),
        attention_factor=encoding.rotation.attention_factor(at),
        follows_length=False,
        trained_length=original,
    )
