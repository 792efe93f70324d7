"""What one attention layer of an extended model does."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ropewalk.attention.softmax import Softmax
from ropewalk.attention.step import step_of
from ropewalk.attention.tiled import attend, attend_turned
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rotation import Turn, work_dtype
from ropewalk.core.rows import Rows
from ropewalk.core.turning import turns
from ropewalk.integrations.call import CallMask
from ropewalk.integrations.heads import HeadLayout
from ropewalk.integrations.kept_keys import KeptKeys

PLAN, POSITIONS = "ropewalk_plan", "ropewalk_positions"
"""Attributes of an attention module that hold its plan, and the positions of the call that runs,
while the model is extended."""


class LayerPlan(Protocol):
    """Attention of one layer over what the family's code hands to it."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        """``q`` ``[b, h, m, d]``, cached ``k``, ``v`` ``[b, g, n, .]`` -> ``[b, h, m, e]``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAtRead:
    """The cache holds un-rotated keys; query and keys are turned here.

    kept  turned keys, as far as the cache vouches for them
    """

    encoding: Encoding
    heads: HeadLayout
    kept: KeptKeys = field(default_factory=KeptKeys, compare=False)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        _refuse_shared_length(self.encoding, rows)
        encoding, heads = self.encoding, self.heads
        one_row, weights = q.shape[2] == 1, heads.channel_weights
        if one_row and weights is None and softmax.bare(encoding, q, k, v):
            step = step_of(rows, encoding, heads.first_channel, work_dtype(q.dtype))
            turned = None if step is None else self.kept.turned(k, step)
            if step is not None and turned is not None:
                return step.attend(q, turned, v, softmax)
        q, k = heads.before_weights(q, k)
        return attend(
            q,
            k,
            v,
            encoding,
            rows=rows,
            softmax_scale=softmax.scale,
            softcap=softmax.softcap,
            sinks=softmax.sinks,
            dropout=softmax.dropout,
            first_channel=heads.first_channel,
            channel_weights=weights,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAtBirth:
    """The rotary module turned q and k under the L of this call; the cache keeps such keys.

    A query's own L is m + 1, so it is turned on by the difference of the two angles.
    """

    encoding: Encoding
    heads: HeadLayout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        encoding, weight = self.encoding, self.heads.query_weight
        _refuse_shared_length(encoding, rows)
        turn = _turn_on(rows, encoding, self.heads.first_channel, work_dtype(q.dtype))
        q = turn.of(q if weight is None else q / weight)
        q = q if weight is None else q * weight
        return attend_turned(q, k, v, encoding, rows=rows, softmax=softmax)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnNothing:
    """A layer without positions: neither rotation nor score modifications reach it."""

    encoding: Encoding

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        bare = replace(self.encoding, score_mods=())
        return attend_turned(q, k, v, bare, rows=rows, softmax=softmax)


@lru_cache(maxsize=2)
def _turn_on(rows: Rows, encoding: Encoding, first_channel: int, dtype: torch.dtype) -> Turn:
    """From the L of a call to that of each row: turns ``[b, h, m, d]``.

    For all layers of the call, which ask with the same ``rows``, told apart by identity.
    """
    positions = rows.query_positions
    own = encoding.row_lengths(rows.length_positions, rows.sequence_lengths)
    born = encoding.length_policy.birth_lengths(positions, rows.sequence_lengths)
    angles, factor = turns(positions, own, encoding)
    born_angles, born_factor = turns(positions, born, encoding)
    return Turn.by(
        (angles - born_angles)[:, None],
        pairing=encoding.geometry.pairing,
        first_channel=first_channel,
        factor=(factor / born_factor)[:, None],
        dtype=dtype,
    )


def plan_of(encoding: Encoding, heads: HeadLayout) -> LayerPlan:
    """The plan of a layer whose positions ``encoding`` decides."""
    at_birth = encoding.key_storage is KeyStorage.ROTATED and encoding.row_dependent
    plan = TurnAtBirth if at_birth else TurnAtRead
    return plan(encoding=heads.directed(encoding), heads=heads)


def _refuse_shared_length(encoding: Encoding, rows: Rows) -> None:
    """Sequences packed in one row have no length of their own that a policy could ask for."""
    if not encoding.path_independent and bool((rows.query_positions.diff(dim=-1) < 0).any()):
        raise RopewalkError(
            "packed sequences under a policy that sees the length of the sequence: expected one "
            "sequence a row; use policy=per_query, or unpack the batch"
        )


def planned_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_ids: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """An attention function in the signature of transformers' ``AttentionInterface``."""
    if not isinstance(attention_mask, CallMask):
        raise RopewalkError(
            "a ready-made 4-D attention mask does not say where each sequence starts: "
            "expected a 2-D padding mask [batch, tokens], or none"
        )
    if position_ids is None or position_ids.ndim != 2:
        position_ids = getattr(module, POSITIONS).position_ids
    rows = attention_mask.rows_at(position_ids)
    plan: LayerPlan = getattr(module, PLAN)
    softmax = Softmax(scale=scaling, softcap=softcap, sinks=s_aux, dropout=dropout)
    out = plan.attend(query, key, value, rows, softmax)
    return out.transpose(1, 2).contiguous(), None
