"""What q, k and v of one attention call must have in common."""

from torch import Tensor

from ropewalk.core.errors import RopewalkError


def check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raises RopewalkError unless q ``[b, h, m, d]`` may attend over k and v ``[b, g, n, .]``."""
    if not q.ndim == k.ndim == v.ndim == 4:
        raise RopewalkError(
            f"q, k, v of shapes {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}: "
            "expected [batch, heads, tokens, channels] each"
        )
    same_keys = k.shape[:3] == v.shape[:3] and q.shape[0] == k.shape[0]
    if not same_keys or q.shape[-1] != k.shape[-1] or q.shape[1] % k.shape[1]:
        raise RopewalkError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}: expected one batch, "
            "equal tokens in k and v, equal channels in q and k, and key heads that divide "
            "the query heads"
        )
    if q.shape[2] > k.shape[2]:
        raise RopewalkError(
            f"{q.shape[2]} queries over {k.shape[2]} keys: expected the queries' own keys "
            "among the keys"
        )
