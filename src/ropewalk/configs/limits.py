"""Which layers limit the length of a model, and whether there is anything to scale."""

from collections.abc import Iterator

from ropewalk.configs.attention import Full
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import LayerKind, ModelShape
from ropewalk.configs.unknown import Unknown

_LEFT = (
    "log-n or a temperature on their logits is what is left (log_n, temperature; SWAN-GPT, "
    "arXiv:2504.08719)"
)


def limits_length(kind: LayerKind) -> bool:
    """Whether rows of such layers reach distances that training never showed them.

    A layer without rotation knows no distance, and a window within the trained length shows none
    beyond it.
    """
    if not isinstance(kind.rope, RopeSection):
        return isinstance(kind.rope, Unknown)
    window = kind.attention.window
    return window is None or window > kind.rope.trained_length


def nothing_to_scale(shape: ModelShape) -> str | None:
    """Why no scaling of RoPE changes what a model can do, None where one may."""
    if shape.without_rotation is not None:
        return f"{shape.without_rotation}; there is nothing to scale"
    if isinstance(shape.kinds, Unknown) or any(map(limits_length, shape.kinds)):
        return None
    return "; ".join(_within_windows(shape.kinds))


def _within_windows(kinds: tuple[LayerKind, ...]) -> Iterator[str]:
    rotating = [kind for kind in kinds if kind.rope is not None]
    widest = max(kind.attention.window or 0 for kind in rotating)
    yield (
        f"RoPE needs no scaling at any length: the {_count(rotating)} layers that rotate see at "
        f"most {widest:,} tokens"
    )
    if everything := [k for k in kinds if k.rope is None and isinstance(k.attention, Full)]:
        yield f"the {_count(everything)} layers that see all tokens have no positions, and {_LEFT}"


def _count(kinds: list[LayerKind]) -> int:
    return sum(len(kind.layers) for kind in kinds)
