"""Attention whose values are encoded too: rotated, or with a relative term."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ropewalk.attention.call import Call
from ropewalk.attention.plain import attend_plain
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax, times_tau
from ropewalk.core.encoding import Encoding, ValueRotation
from ropewalk.core.rotation import Turn, work_dtype

Attend = Callable[[Call, Tensor, Tensor, Tensor, Rotary, Softmax], Tensor]


def attend_values(
    call: Call, q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, softmax: Softmax, attend: Attend
) -> Tensor:
    """As ``attend``, which serves encodings that leave values alone.

    Relative terms need weights, so they take the plain path. Values are rotated by their angle
    alone, whatever the size of the waves.
    """
    encoding, rows = rotary.encoding, call.rows
    rotates = encoding.value_rotation is not ValueRotation.NONE
    if rotates:
        v = _turn(encoding, rows.key_positions, v).of(v)
    if encoding.value_terms:
        q = times_tau(q, encoding, rows)
        out = attend_plain(q, k, v, rotary, call=call, softmax=softmax)
    else:
        bare = replace(encoding, value_rotation=ValueRotation.NONE)
        out = attend(call, q, k, v, replace(rotary, encoding=bare), softmax)
    if encoding.value_rotation is ValueRotation.BACK:
        out = _turn(encoding, -rows.query_positions, out).of(out)
    return out


def _turn(encoding: Encoding, positions: Tensor, x: Tensor) -> Turn:
    """Rotates ``x`` ``[b, h, m, d]`` at ``positions`` ``[b, m]``."""
    angles = encoding.rotation.angles(positions[:, None], encoding.geometry.trained_length)
    return Turn.by(angles, pairing=encoding.geometry.pairing, dtype=work_dtype(x.dtype))
