"""Multi-head latent attention (MLA): one attention, computed in two ways.

Keys and values of all heads are linear in one latent vector c_n of a token; position is carried
by separate channels r_n that all heads share. With q_m = [q_m^C; q_m^R] of one head,

    score(m, n) = tau(m) * sigma * Re( q_m^C . W_UK c_n + < rho(q_m^R), rho(r_n) > )
    out(m)      = sum_n softmax(score)(m, n) * W_UV c_n

``prefill`` expands: k_n = [W_UK c_n; r_n] and v_n = W_UV c_n, head by head. ``decode`` absorbs:
(q^C . W_UK c) = (W_UK^T q^C) . c, so all heads attend over [c_n; r_n] as over one key head, and
W_UV is applied once, to the weighted latent. Nothing is expanded, and a token's cache is c_n and
r_n alone.

sigma belongs to the expanded head: (qk_nope_head_dim + qk_rope_head_dim)^-1/2 times YaRN's
squared mscale (192^-1/2 in DeepSeek-V2-Lite), never the (kv_lora_rank + qk_rope_head_dim)^-1/2
of what decoding multiplies (576^-1/2). It is a field here, so that both ways take the same one;
``ropewalk.methods.from_config.softmax_scale`` computes it.

Shapes: b batch, h heads, m queries, n tokens, c kv_lora_rank, p qk_nope_head_dim,
r qk_rope_head_dim, e v_head_dim.

Source: DeepSeek-V2, arXiv:2405.04434, section 2.1 and equations 9 to 19; DeepSeek-V3,
    arXiv:2412.19437, section 2.1.1.
Deviation: the paper caches rho(r_n); here r_n is cached un-rotated and turned when it is read,
    so that any encoding may be used. The scores are the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.attention.tiled import attend
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentAttention:
    """One layer's up-projections and its softmax scale.

    key_up         W_UK ``[h, p, c]``
    value_up       W_UV ``[h, e, c]``
    softmax_scale  sigma, of the expanded head

    Raises RopewalkError for weights that do not fit each other.
    """

    key_up: Tensor
    value_up: Tensor
    softmax_scale: float

    def __post_init__(self) -> None:
        fits = self.key_up.ndim == self.value_up.ndim == 3
        if not fits or self.key_up.shape[::2] != self.value_up.shape[::2]:
            raise RopewalkError(
                f"key_up {tuple(self.key_up.shape)}, value_up {tuple(self.value_up.shape)}: "
                "expected [heads, channels, kv_lora_rank] each, with equal heads and ranks"
            )

    @classmethod
    def from_kv_up(
        cls, kv_up: Tensor, *, heads: int, value_dim: int, softmax_scale: float
    ) -> "LatentAttention":
        """From the joint weight ``[h * (p + e), c]`` that checkpoints store (``kv_b_proj``)."""
        joint = kv_up.reshape(heads, -1, kv_up.shape[-1])
        key_up, value_up = joint[:, :-value_dim], joint[:, -value_dim:]
        return cls(key_up=key_up, value_up=value_up, softmax_scale=softmax_scale)

    def prefill(
        self,
        q: Tensor,
        latent: Tensor,
        shared_key: Tensor,
        encoding: Encoding,
        *,
        rows: Rows | None = None,
    ) -> Tensor:
        """Attention with expanded heads: ``[b, h, m, e]`` in the dtype of ``q``.

        q           ``[b, h, m, p + r]``, un-rotated; its last r channels turn
        latent      c ``[b, n, c]``, after its norm
        shared_key  ``[b, n, r]``, un-rotated
        encoding    over a geometry of head_dim r
        rows        by default the last m of n tokens, causal, without padding

        Raises RopewalkError for shapes that do not fit.
        """
        self._check(q, latent, shared_key)
        passing = torch.einsum("hpc,bnc->bhnp", self.key_up, latent)
        rotating = shared_key[:, None].expand(-1, passing.shape[1], -1, -1)
        return attend(
            q,
            torch.cat([passing, rotating], dim=-1),
            torch.einsum("hec,bnc->bhne", self.value_up, latent),
            encoding,
            rows=rows,
            softmax_scale=self.softmax_scale,
            first_channel=passing.shape[-1],
        )

    def decode(
        self,
        q: Tensor,
        latent: Tensor,
        shared_key: Tensor,
        encoding: Encoding,
        *,
        rows: Rows | None = None,
    ) -> Tensor:
        """The same attention on the latent cache, arguments and result as in ``prefill``."""
        self._check(q, latent, shared_key)
        width = self.key_up.shape[1]
        passing, rotating = q[..., :width], q[..., width:]
        absorbed = torch.einsum("bhmp,hpc->bhmc", passing, self.key_up)
        weighted = attend(
            torch.cat([absorbed, rotating], dim=-1),
            torch.cat([latent, shared_key], dim=-1)[:, None],
            latent[:, None],
            encoding,
            rows=rows,
            softmax_scale=self.softmax_scale,
            first_channel=latent.shape[-1],
        )
        return torch.einsum("bhmc,hec->bhme", weighted, self.value_up)

    def _check(self, q: Tensor, latent: Tensor, shared_key: Tensor) -> None:
        heads, passing, rank = self.key_up.shape
        fits = q.ndim == 4 and latent.ndim == shared_key.ndim == 3
        if (
            not fits
            or latent.shape[-1] != rank
            or latent.shape[:2] != shared_key.shape[:2]
            or (q.shape[1], q.shape[3]) != (heads, passing + shared_key.shape[-1])
        ):
            raise RopewalkError(
                f"q {tuple(q.shape)}, latent {tuple(latent.shape)}, shared_key "
                f"{tuple(shared_key.shape)}: expected q [b, {heads}, m, {passing} + r], latent "
                f"[b, n, {rank}] and shared_key [b, n, r]"
            )
