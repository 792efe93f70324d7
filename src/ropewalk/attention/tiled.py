"""Attention of any encoding: fused pieces where they can serve, blocks of plain products else.

Fused pieces (``ropewalk.attention.fused``, with gradients ``ropewalk.attention.differentiable``)
know neither softcap nor dropout nor gradients of biases, but those of the distance; plain blocks
(``ropewalk.attention.plain``) do. One row a sequence has a way of its own
(``ropewalk.attention.decode``).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ropewalk.attention.call import Call
from ropewalk.attention.decode import attend_step, step_of
from ropewalk.attention.differentiable import attend_differentiable
from ropewalk.attention.fused import attend_fused
from ropewalk.attention.plain import attend_plain
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.shapes import check_shapes
from ropewalk.attention.softmax import Softmax, times_tau
from ropewalk.attention.values import attend_values
from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Side
from ropewalk.core.rotation import work_dtype
from ropewalk.core.rows import Rows
from ropewalk.core.score_mods import Parameters


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows | None = None,
    softmax_scale: float | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    dropout: float = 0.0,
    first_channel: int = 0,
    channel_weights: Tensor | None = None,
    parameters: Parameters | None = None,
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over un-rotated ``k`` ``[b, g, n, d]``.

    g divides h: query head i reads key head i // (h / g). ``v`` is ``[b, g, n, e]``; the
    result ``[b, h, m, e]`` has the dtype of ``q``. A row that may see no key (padding) is
    finite and meaningless.

    rows           by default the last m of n tokens, causal, without padding
    softmax_scale, softcap, sinks, dropout  the architecture's: see ``Softmax``
    first_channel    where the rotary channels start in a head
    channel_weights  ``[d]``: multiply a product channel by channel, after rotation
    parameters       of learned terms: what ``encoding.init`` gives, and what ``of_queries`` and
                     ``of_keys`` read of hidden states

    Under a policy that settles keys at birth, all keys count as written by this call.
    Raises RopewalkError for shapes that do not fit and for parameters that are missing.
    """
    check_shapes(q, k, v)
    softmax = Softmax(scale=softmax_scale, softcap=softcap, sinks=sinks, dropout=dropout)
    rotary = Rotary(
        encoding=encoding,
        first_channel=first_channel,
        channel_weights=channel_weights,
        parameters=parameters or {},
    )
    call = Call.causal(q, k) if rows is None else Call(rows)
    return attend_in(call, q, k, v, rotary, softmax)


def attend_in(
    call: Call, q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, softmax: Softmax
) -> Tensor:
    """As ``attend``, for one of the layers of a forward pass."""
    encoding = rotary.encoding
    if encoding.keys_settle_at_birth:
        q, k = rotated_at_birth(call, q, k, rotary)
        rotary = Rotary(encoding=encoding.unrotated(), parameters=rotary.parameters)
        encoding = rotary.encoding
    if encoding.values_encoded:
        return attend_values(call, q, k, v, rotary, softmax, attend_in)
    if q.shape[2] == 1 and rotary.channel_weights is None and softmax.bare(encoding, q, k, v):
        return attend_step(q, k, v, step_of(call, rotary, work_dtype(q.dtype)), softmax)
    way = _way(call, q, k, v, rotary, softmax)
    return way(times_tau(q, encoding, call.rows), k, v, rotary, call=call, softmax=softmax)


def rotated_at_birth(call: Call, q: Tensor, k: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
    """Queries under their rows' L, keys under the L that settles when this call writes them."""
    rows, encoding = call.rows, rotary.encoding
    (region,) = encoding.position_map.regions
    places = (
        (q, Side.QUERY, region.query_positions(rows.query_positions), call.lengths(encoding)),
        (
            k,
            Side.KEY,
            region.key_positions(rows.key_positions),
            encoding.birth_lengths(rows.key_index, rows.sequence_lengths),
        ),
    )
    q, k = (
        rotated(
            x,
            encoding.turn(
                side,
                positions[:, None],
                lengths[:, None],
                first_channel=rotary.first_channel,
                dtype=work_dtype(x.dtype),
            ),
        )
        for x, side, positions, lengths in places
    )
    return rotary.weighted(q), k


def _way(
    call: Call, q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, softmax: Softmax
) -> Callable[..., Tensor]:
    """The fastest that lacks nothing that is asked for."""
    if softmax.softcap is not None or softmax.dropout != 0:
        return attend_plain
    if not torch.is_grad_enabled():
        return attend_fused
    encoding, one = rotary.encoding, torch.zeros(1, 1, dtype=torch.long, device=q.device)
    given = [q, k, v, softmax.sinks, rotary.channel_weights]
    of_bias = []
    if encoding.score_mods:
        given.append(encoding.query_scale(one))
        of_bias.append(encoding.bias(q.shape[1], one, one))
    if encoding.learned:
        of_bias += list(rotary.parameters.values())
    wanted = any(x is not None and x.requires_grad for x in given)
    learning = any(x is not None and x.requires_grad for x in of_bias)
    if encoding.biased_by_distance and call.by_diagonals(encoding):
        return attend_differentiable if wanted or learning else attend_fused
    if learning or (wanted and encoding.learned):
        return attend_plain  # a learned bias may read the queries
    return attend_differentiable if wanted else attend_fused
