"""The oracle: the one equation, read literally, one row at a time, in float64."""

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.shapes import check_shapes
from ropewalk.core.encoding import Encoding, ValueRotation
from ropewalk.core.frequencies import Side
from ropewalk.core.rotation import rotate
from ropewalk.core.rows import CausalRows, Rows
from ropewalk.core.score_mods import Block, Parameters


def attend_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows | None = None,
    key_lengths: Tensor | None = None,
    softmax_scale: float | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    parameters: Parameters | None = None,
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over un-rotated ``k`` ``[b, g, n, d]``.

    g divides h: query head i reads key head i // (h / g). ``v`` is ``[b, g, n, e]``; the
    result ``[b, h, m, e]`` is float64.

    rows           by default the last m of n tokens, causal, without padding
    key_lengths    int64 ``[b, n]``: L of each key, where the policy settles it at birth;
                   by default all keys were written by this call
    softmax_scale  sigma, by default d^-1/2
    softcap, sinks the architecture's: see ``Softmax``
    parameters     of learned terms, as in ``attend``

    Raises RopewalkError for shapes that do not fit and for parameters that are missing.
    """
    check_shapes(q, k, v)
    q, k, v = q.double(), k.double(), v.double()
    batch, heads, queries, width = q.shape
    keys = k.shape[2]
    rows = rows or CausalRows.of(batch, queries, keys, q.device)
    scale = width**-0.5 if softmax_scale is None else softmax_scale
    k = k.repeat_interleave(heads // k.shape[1], dim=1)
    v = v.repeat_interleave(heads // v.shape[1], dim=1)
    parameters = {name: each.double() for name, each in (parameters or {}).items()}
    lengths = encoding.row_lengths(rows.length_index, rows.sequence_lengths)
    v = _rotated_values(v, encoding, rows.key_positions)
    if key_lengths is None and encoding.keys_settle_at_birth:
        key_lengths = encoding.birth_lengths(rows.key_index, rows.sequence_lengths)
    out = q.new_zeros(batch, heads, queries, v.shape[3])
    for b in range(batch):
        for m in range(queries):
            length = int(lengths[b, m])
            born = [length] * keys if key_lengths is None else key_lengths[b].tolist()
            index = rows.query_index[b, m]
            tau = encoding.query_scale(index)
            block = Block(
                q=(q[b, :, m] * tau)[None, :, None],
                scale=scale,
                rows=index[None, None, None],
                keys=rows.key_index[b][None, None],
                batch=slice(b, b + 1),
                queries=slice(m, m + 1),
                key_range=slice(0, keys),
                all_queries=queries,
            )
            scores = _row(q[b, :, m], k[b], encoding, rows, (b, m), length, born)
            scores = scores * scale * tau
            scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
            bias = encoding.bias(heads, index[None, None], rows.key_index[b][None, :])
            scores = scores if bias is None else scores + bias[:, 0]
            for term in encoding.learned:
                scores = scores + term.bias(parameters, block)[0, :, 0]
            stop, mask = rows.allowed(m, m + 1)
            scores = scores[:, :stop]
            if mask is not None:
                mask = mask.expand(batch, 1, 1, stop)[b, 0]
                scores = scores.masked_fill(~mask, float("-inf"))
            if sinks is not None:
                scores = torch.cat([scores, sinks.double()[:, None]], dim=-1)
            weights = torch.nan_to_num(scores.softmax(dim=-1))[:, :stop]
            out[b, :, m] = torch.einsum("hn,hne->he", weights, v[b, :, :stop])
            seen = functional.pad(weights, (0, keys - stop))[None, :, None]
            for relative in encoding.value_terms:
                out[b, :, m] += relative.values(parameters, seen, block)[0, :, 0]
    if encoding.value_rotation is ValueRotation.BACK:
        out = _rotated_values(out, encoding, -rows.query_positions)
    return out


def _row(
    q: Tensor,
    k: Tensor,
    encoding: Encoding,
    rows: Rows,
    place: tuple[int, int],
    length: int,
    born: list[int],
) -> Tensor:
    """Products ``[h, n]`` of one query ``[h, d]`` with its keys ``[h, n, d]``, both rotated."""
    (b, m), scores = place, q.new_zeros(k.shape[:2])
    for region in encoding.position_map.regions:
        covered = region.covers(rows.query_index[b, m][None], rows.key_index[b])
        at = region.query_positions(rows.query_positions[b, m][None])
        rotated_q = _rotated(q, encoding, Side.QUERY, at, length)
        rotated_k = torch.empty_like(k)
        for each in set(born):
            written = torch.tensor([key == each for key in born], device=k.device)
            positions = region.key_positions(rows.key_positions[b])[written]
            rotated_k[:, written] = _rotated(k[:, written], encoding, Side.KEY, positions, each)
        products = (rotated_q[:, None, :] * rotated_k).sum(dim=-1)
        scores = torch.where(covered, products, scores)
    return scores


def _rotated_values(v: Tensor, encoding: Encoding, positions: Tensor) -> Tensor:
    """Values ``[b, h, n, e]`` at positions ``[b, n]``, by their angles alone."""
    if encoding.value_rotation is ValueRotation.NONE:
        return v
    angles = encoding.rotation.angles(positions, encoding.geometry.trained_length)
    return rotate(v, angles[:, None], pairing=encoding.geometry.pairing)


def _rotated(x: Tensor, encoding: Encoding, side: Side, positions: Tensor, length: int) -> Tensor:
    turn = encoding.turn(side, positions, length)
    return x if turn is None else turn.of(x)
