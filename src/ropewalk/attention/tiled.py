"""Attention of any encoding: fused pieces where they can serve, blocks of plain products else.

Rows of one region that may see different L are taken together (``ropewalk.attention.varied``).
Fused pieces (``ropewalk.attention.fused``) carry no gradient and know neither softcap nor
dropout; blocks (``ropewalk.attention.blocks``) do.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ropewalk.attention.blocks import attend_blocks, attend_turned_blocks
from ropewalk.attention.fused import attend_fused
from ropewalk.attention.plan import causal_rows
from ropewalk.attention.shapes import check_shapes
from ropewalk.attention.softmax import Softmax, times_tau
from ropewalk.attention.source import AlreadyTurned, Turner
from ropewalk.attention.varied import applies, attend_varied
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.lengths import Fixed
from ropewalk.core.regions import Identity
from ropewalk.core.rows import Rows
from ropewalk.core.turning import turn


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
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over un-rotated ``k`` ``[b, g, n, d]``.

    g divides h: query head i reads key head i // (h / g). ``v`` is ``[b, g, n, e]``; the
    result ``[b, h, m, e]`` has the dtype of ``q``. A row that may see no key (padding) is
    finite and meaningless.

    rows           by default the last m of n tokens, causal, without padding
    softmax_scale, softcap, sinks, dropout  the architecture's: see ``Softmax``
    first_channel    where the rotary channels start in a head
    channel_weights  ``[d]``: multiply a product channel by channel, after turning

    Under a policy that settles keys at birth, all keys count as written by this call.
    Raises RopewalkError for shapes that do not fit.
    """
    check_shapes(q, k, v)
    softmax = Softmax(scale=softmax_scale, softcap=softcap, sinks=sinks, dropout=dropout)
    rows = rows or causal_rows(q.shape[0], q.shape[2], k.shape[2], q.device)
    fused = _fused_serves(q, k, v, encoding, softmax, channel_weights)
    if encoding.key_storage is KeyStorage.ROTATED and (encoding.row_dependent or not fused):
        q, k = _turned(q, k, encoding, rows, first_channel)
        q = q if channel_weights is None else q * channel_weights
        return attend_turned(q, k, v, encoding, rows=rows, softmax=softmax)
    if channel_weights is None and applies(q, k, v, encoding, softmax):
        return attend_varied(
            q, k, v, encoding, rows=rows, softmax=softmax, first_channel=first_channel
        )
    q = times_tau(q, encoding, rows)
    if fused:
        source = Turner(
            encoding=encoding, first_channel=first_channel, channel_weights=channel_weights
        )
        return attend_fused(q, k, v, encoding, source, rows=rows, softmax=softmax)
    return attend_blocks(
        q,
        k,
        v,
        encoding,
        rows=rows,
        softmax=softmax,
        first_channel=first_channel,
        channel_weights=channel_weights,
    )


def attend_turned(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows,
    softmax: Softmax,
) -> Tensor:
    """As ``attend``, with q and k that are turned already, each pair as one region shows it."""
    q = times_tau(q, encoding, rows)
    settled = Fixed(length=encoding.geometry.trained_length)
    unturned = replace(encoding, position_map=Identity(), length_policy=settled)
    if _fused_serves(q, k, v, encoding, softmax, None):
        return attend_fused(q, k, v, unturned, AlreadyTurned(), rows=rows, softmax=softmax)
    return attend_turned_blocks(q, k, v, encoding, rows=rows, softmax=softmax)


def _fused_serves(
    q: Tensor, k: Tensor, v: Tensor, encoding: Encoding, softmax: Softmax, weights: Tensor | None
) -> bool:
    """Whether nothing is asked for that fused pieces lack."""
    if softmax.softcap is not None or softmax.dropout != 0:
        return False
    given: tuple[Tensor | None, ...] = (q, k, v, softmax.sinks, weights)
    if torch.is_grad_enabled() and encoding.score_mods:
        one = torch.zeros(1, 1, dtype=torch.long, device=q.device)
        given = (*given, encoding.query_scale(one), encoding.bias(q.shape[1], one, one))
    needs_gradient = any(x is not None and x.requires_grad for x in given)
    return not (torch.is_grad_enabled() and needs_gradient)


def _turned(
    q: Tensor, k: Tensor, encoding: Encoding, rows: Rows, first_channel: int
) -> tuple[Tensor, Tensor]:
    """Queries under their rows' L, keys under the L that settles when this call writes them."""
    (region,) = encoding.position_map.regions
    own = encoding.row_lengths(rows.length_positions, rows.sequence_lengths)
    born = encoding.row_lengths(rows.key_positions, rows.sequence_lengths)
    if encoding.row_dependent:
        born = encoding.length_policy.birth_lengths(rows.key_positions, rows.sequence_lengths)
    q = turn(q, region.query_positions(rows.query_positions), own, encoding, first_channel)
    return q, turn(k, region.key_positions(rows.key_positions), born, encoding, first_channel)
