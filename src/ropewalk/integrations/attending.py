"""What one attention layer of an extended model does."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ropewalk.attention.call import Call
from ropewalk.attention.decode import step_of
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend_in
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.core.rotation import Turn, work_dtype
from ropewalk.core.rows import Rows
from ropewalk.integrations.call import CallMask, CallRows
from ropewalk.integrations.heads import HeadLayout
from ropewalk.integrations.layer_attention import LayerAttention
from ropewalk.integrations.positions import TEXT_ALONE

ATTENTION = "ropewalk_attention"
"""Attribute of an attention module that holds what it does while the model is extended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateAtRead:
    """The cache holds un-rotated keys; query and keys are rotated here.

    layer  number of the cache's layer that holds them; None for none
    """

    encoding: Encoding
    heads: HeadLayout
    layer: int | None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        _refuse_shared_length(self.encoding, call.rows)
        rotary = self.heads.rotary(self.encoding)
        one_row = q.shape[2] == 1 and rotary.channel_weights is None
        if one_row and softmax.bare(self.encoding, q, k, v):
            step = step_of(call, rotary, work_dtype(q.dtype))
            cache = call.rows.cache if isinstance(call.rows, CallRows) else None
            rotated = None if cache is None else cache.kept.rotated(self.layer, k, step)
            if rotated is not None:
                return step.attend(q, rotated, v, softmax)
        q, k = self.heads.before_weights(q, k)
        return attend_in(call, q, k, v, rotary, softmax)

    def of_heads(self, first: int, all_heads: int) -> LayerAttention:
        return replace(self, encoding=self.encoding.of_heads(first, all_heads))


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateAtBirth:
    """The rotary module rotated q and k under the L of this call; the cache keeps such keys.

    A query's own L is m + 1, so it is rotated on by the quotient of the two waves.
    """

    encoding: Encoding
    heads: HeadLayout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        encoding = self.encoding
        _refuse_shared_length(encoding, call.rows)
        dtype, first_channel = work_dtype(q.dtype), self.heads.first_channel
        turn = call.shared.once(
            ("onward", encoding, first_channel, dtype),
            lambda: _onward(call, encoding, first_channel, dtype),
        )
        q = self.heads.weighted(turn.of(self.heads.before_weights(q, k)[0]))
        return attend_in(call, q, k, v, Rotary(encoding=encoding.unrotated()), softmax)

    def of_heads(self, first: int, all_heads: int) -> LayerAttention:
        return replace(self, encoding=self.encoding.of_heads(first, all_heads))


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateNothing:
    """A layer without positions: no rotation reaches it. ``encoding`` has none."""

    encoding: Encoding

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        return attend_in(call, q, k, v, Rotary(encoding=self.encoding), softmax)

    def of_heads(self, first: int, all_heads: int) -> LayerAttention:
        return self


class InPlace(Protocol):
    """A rotary module of ours that somebody may have put away."""

    @property
    def in_place(self) -> bool:
        """Whether it is where it was put."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedAttention:
    """What a layer does while the rotary modules that it was made for are in their places."""

    attention: LayerAttention
    seams: tuple[InPlace, ...]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, call: Call, softmax: Softmax) -> Tensor:
        intact = call.shared.once(self.seams, lambda: all(each.in_place for each in self.seams))
        if not intact:
            raise RopewalkError(
                "a rotary module of an extended model was put in another's place: its keys would "
                "be rotated twice; call extension.remove() first, change the model, extend again"
            )
        return self.attention.attend(q, k, v, call, softmax)

    def of_heads(self, first: int, all_heads: int) -> LayerAttention:
        return replace(self, attention=self.attention.of_heads(first, all_heads))


def _onward(call: Call, encoding: Encoding, first_channel: int, dtype: torch.dtype) -> Turn:
    """From the L of a call to that of each row: rotates ``[b, h, m, d]``."""
    rows, frequencies = call.rows, encoding.rotation
    positions = rows.query_positions
    born = encoding.birth_lengths(rows.query_index, rows.sequence_lengths)
    own = frequencies.wave(positions, call.lengths(encoding), Side.QUERY)
    return Turn.of_wave(
        (own / frequencies.wave(positions, born, Side.QUERY))[:, None],
        pairing=encoding.geometry.pairing,
        first_channel=first_channel,
        dtype=dtype,
    )


def rotates_at_birth(encoding: Encoding) -> bool:
    """Whether keys are stored rotated although rows see lengths of their own."""
    return encoding.key_storage is KeyStorage.ROTATED and encoding.row_dependent


def attention_of(encoding: Encoding, heads: HeadLayout, layer: int | None) -> LayerAttention:
    """The attention of a layer whose positions ``encoding`` decides.

    layer  number of the cache's layer that holds its keys; None for none
    """
    directed = heads.directed(encoding)
    if rotates_at_birth(encoding):
        return RotateAtBirth(encoding=directed, heads=heads)
    return RotateAtRead(encoding=directed, heads=heads, layer=layer)


def _refuse_shared_length(encoding: Encoding, rows: Rows) -> None:
    """Sequences packed in one row have no length of their own that a policy could ask for."""
    shared = not encoding.path_independent or encoding.length_policy.looks_at_admission
    if shared and bool((rows.query_index.diff(dim=-1) < 0).any()):
        raise RopewalkError(
            "packed sequences under a policy that sees the length of the sequence: expected one "
            "sequence a row; use policy=per_query, or unpack the batch"
        )


def _on(call: Call, device: torch.device) -> Call:
    """The call for layers on ``device``: a model may lie on several."""
    rows = call.rows
    if rows.query_positions.device == device or not isinstance(rows, CallRows):
        return call
    return call.shared.once(("on", device), lambda: Call(rows.to(device)))


def _without_autocast(kind: str) -> AbstractContextManager[Any]:
    """A device without autocast has nothing to turn off."""
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def _autocast(*tensors: Tensor) -> list[Tensor]:
    """As autocast would hand them to fused attention: log-sum-exps are not rounded then."""
    kind = tensors[0].device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return list(tensors)
    return [x.to(torch.get_autocast_dtype(kind)) for x in tensors]


@torch.compiler.disable  # type: ignore[untyped-decorator]
def routed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """An attention function in the signature of transformers' ``AttentionInterface``."""
    attention: LayerAttention | None = getattr(module, ATTENTION, None)
    if attention is None:
        raise RopewalkError(
            f"{type(module).__name__}: layers that read no text when the model was extended, "
            f"{TEXT_ALONE}; "
            "nor are layers served that were made since, as by generate(use_mtp=True)"
        )
    if not isinstance(attention_mask, CallMask):
        raise RopewalkError(
            "a ready-made 4-D attention mask does not say where each sequence starts: "
            "expected a 2-D padding mask [batch, tokens], or none"
        )
    call = _on(attention_mask.call, query.device)
    softmax = Softmax(scale=scaling, softcap=softcap, sinks=s_aux, dropout=dropout)
    query, key, value = _autocast(query, key, value)
    with _without_autocast(query.device.type):
        out = attention.attend(query, key, value, call, softmax)
    return out.transpose(1, 2).contiguous(), None
