"""What one attention layer of an extended model does."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor, nn

from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend, attend_turned
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rotation import rotate
from ropewalk.core.rows import Rows
from ropewalk.core.turning import turns
from ropewalk.integrations.call import CallMask
from ropewalk.integrations.heads import HeadLayout

PLAN = "ropewalk_plan"
"""Attribute of an attention module that holds its plan while the model is extended."""


class LayerPlan(Protocol):
    """Attention of one layer over what the family's code hands to it."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        """``q`` ``[b, h, m, d]``, cached ``k``, ``v`` ``[b, g, n, .]`` -> ``[b, h, m, e]``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAtRead:
    """The cache holds un-rotated keys; query and keys are turned here."""

    encoding: Encoding
    heads: HeadLayout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        _refuse_shared_length(self.encoding, rows)
        q, k = self.heads.before_weights(q, k)
        return attend(
            q,
            k,
            v,
            self.encoding,
            rows=rows,
            softmax_scale=softmax.scale,
            softcap=softmax.softcap,
            sinks=softmax.sinks,
            dropout=softmax.dropout,
            first_channel=self.heads.first_channel,
            channel_weights=self.heads.channel_weights,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAtBirth:
    """The rotary module turned q and k under the L of this call; the cache keeps such keys.

    A query's own L is m + 1, so it is turned on by the difference of the two angles.
    """

    encoding: Encoding
    heads: HeadLayout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        encoding, positions = self.encoding, rows.query_positions
        _refuse_shared_length(encoding, rows)
        own = encoding.row_lengths(positions, rows.sequence_lengths)
        born = encoding.length_policy.birth_lengths(positions, rows.sequence_lengths)
        angles, factor = turns(positions, own, encoding)
        born_angles, born_factor = turns(positions, born, encoding)
        weight = self.heads.query_weight
        q = rotate(
            q if weight is None else q / weight,
            (angles - born_angles)[:, None],
            pairing=encoding.geometry.pairing,
            first_channel=self.heads.first_channel,
            factor=(factor / born_factor)[:, None],
        )
        q = q if weight is None else q * weight
        return attend_turned(q, k, v, encoding, rows=rows, softmax=softmax)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnNothing:
    """A layer without positions: neither rotation nor score modifications reach it."""

    encoding: Encoding

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        bare = replace(self.encoding, score_mods=())
        return attend_turned(q, k, v, bare, rows=rows, softmax=softmax)


def plan_of(encoding: Encoding, heads: HeadLayout) -> LayerPlan:
    """The plan of a layer whose positions ``encoding`` decides."""
    at_birth = encoding.key_storage is KeyStorage.ROTATED and encoding.row_dependent
    plan = TurnAtBirth if at_birth else TurnAtRead
    return plan(encoding=encoding, heads=heads)


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
    rows = attention_mask.rows.at(position_ids)
    plan: LayerPlan = getattr(module, PLAN)
    softmax = Softmax(scale=scaling, softcap=softcap, sinks=s_aux, dropout=dropout)
    out = plan.attend(query, key, value, rows, softmax)
    return out.transpose(1, 2).contiguous(), None
