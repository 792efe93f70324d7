"""The rotation of the queries that reach attention, whoever turned them.

    wave(p) = sum_h z_h(p) conj(z'_h(p)) / sum_h |z'_h(p)|^2

z and z' are a pair's channels as complex numbers, with the rotary module's cosines and sines and
with cos = 1, sin = 0, under an attention that looks at neither. So a tool that patched the function
that rotates, and left the rotary module alone, is seen too.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import Pairing
from ropewalk.integrations.heads import PAIRINGS, Heads, candidates, pairs_of, relative_distance
from ropewalk.integrations.live import LiveRotation, of_waves
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.placement import input_device
from ropewalk.integrations.probe import family_of, probe_ids, running, seeing_answers
from ropewalk.integrations.recorder import Recorder, attention_names, unturned
from ropewalk.integrations.routing import routed

STILL = 1e-4
"""Of the largest entry: less is no rotation."""
FITS = 0.05
"""Of the largest entry: more is left over than a rotation of pairs explains."""


def head_rotations(base: Any, encoding: Encoding, positions: list[int]) -> list[LiveRotation]:
    """Of each layer that rotates, at 0 and doublings of 1.

    encoding  one with as many pairs as are to be measured

    Raises RopewalkError where no attention layer of the model can be seen.
    """
    turned, plain = _run(base, positions, still=False), _run(base, positions, still=True)
    if not turned:
        raise RopewalkError(
            f"{family_of(base)}: its attention does not go through the library's interface, so "
            "what it does with queries cannot be measured; expected the library's own attention "
            "(sdpa, eager, flash)"
        )
    modules, found = dict(base.named_modules()), []
    for name, q in turned.items():
        wave = _wave(q, plain[name], modules[name], encoding)
        if wave is not None:
            found.append(of_waves(f"attention of {name}", *wave, positions, q.dtype))
    if not found:
        raise RopewalkError(f"{family_of(base)}: no layer turns its queries; expected one")
    return found


@torch.no_grad()
def _run(base: Any, positions: list[int], *, still: bool) -> dict[str, Tensor]:
    """Queries ``[1, h, n, d]`` of each layer, of one token at all positions."""
    ids = probe_ids(base)[:, :1].expand(1, len(positions))
    places = torch.tensor([positions], device=input_device(base))
    recorders = {name: Recorder() for name in attention_names(base)}
    with (
        at_rest(base),
        seeing_answers(base, lambda name, answer: unturned(answer) if still else None),
        routed(base, recorders),
        running(base, "at far positions"),
    ):
        base(ids, position_ids=places, use_cache=False)
    return {name: each.q for name, each in recorders.items() if each.q.numel()}


@torch.no_grad()
def _wave(
    q: Tensor, plain: Tensor, module: nn.Module, encoding: Encoding
) -> tuple[Tensor, Tensor | None] | None:
    """Complex ``[n, f]``, and its size ``[f]`` if known; None where nothing rotates by pairs."""
    sized = relative_distance(plain, q) > STILL
    if not sized:
        # Another function may turn them, that does not ask the rotary module: from position 0.
        plain = q[:, :, :1].expand_as(q)
        if relative_distance(plain, q) <= STILL:
            return None
    seen = Heads(q=plain, k=plain, turned_q=q, turned_k=q)
    fits = []
    for heads, pairing in product(candidates(seen, module, encoding), PAIRINGS):
        first, last = heads.first_channel, heads.first_channel + 2 * pairs_of(encoding)
        own, still = (heads.before_weights(x, x)[0][0] for x in (q, plain))
        z, before = (_complex(x[..., first:last], pairing) for x in (own, still))
        wave = (z * before.conj()).sum(dim=0) / before.abs().square().sum(dim=0).clamp(min=1e-30)
        passing = (own - still).abs()
        passing[..., first:last] = 0
        left_over = max(float((z - wave * before).abs().max()), float(passing.max()))
        # A norm after the rotation takes the size away again.
        known = sized and heads.query_norm is None
        fits.append((left_over / float(own.abs().max()), wave, known))
    left_over, wave, known = min(fits, key=lambda fit: fit[0])
    if left_over >= FITS:
        return None
    return wave, wave.abs().mean(dim=0) if known else None


def _complex(x: Tensor, pairing: Pairing) -> Tensor:
    """``[h, n, 2f]`` as ``[h, n, f]``."""
    x = x.double()
    if pairing == "interleaved":
        return torch.complex(x[..., 0::2], x[..., 1::2])
    half = x.shape[-1] // 2
    return torch.complex(x[..., :half], x[..., half:])
