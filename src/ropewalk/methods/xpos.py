"""xPos, and RoPE on values, as methods."""

from dataclasses import replace
from typing import Literal

from ropewalk.core.encoding import Encoding, ValueRotation
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.xpos import XPos
from ropewalk.methods.method import ROTATION, Method, Promise, Reach
from ropewalk.methods.policies import static_encoding
from ropewalk.methods.unscaled import none


def xpos(geometry: RopeGeometry, *, scale_base: int = 512, gamma: float = 0.4) -> Encoding:
    """RoPE whose products decay with the distance, faster pairs more.

    scale_base  tokens after which pair i has kept zeta_i of its product
    gamma       keeps the fastest pair from vanishing

    Source: Sun et al. 2022, A Length-Extrapolatable Transformer, arXiv:2212.10554.
    """
    return static_encoding(geometry, XPos(geometry=geometry, scale_base=scale_base, gamma=gamma))


def rope_values(
    geometry: RopeGeometry, *, output: Literal["rotated_back", "kept"] = "rotated_back"
) -> Encoding:
    """RoPE on values as well as on queries and keys.

    output  ``rotated_back`` by its row, so that values are seen at their distance; ``kept``: seen
            at their position

    Source: lucidrains/x-transformers, rotary_embed_values, for ``rotated_back``.
    """
    back = output == "rotated_back"
    return replace(
        none(geometry), value_rotation=ValueRotation.BACK if back else ValueRotation.KEPT
    )


XPOS = Method(
    build=xpos,
    summary="RoPE whose products decay with the distance",
    promises=ROTATION,
    reach=Reach(
        untuned=4,
        short_context="for models trained with it",
        reason="1,024 trained tokens: perplexity 23.3 at 1,024, 20.7 at 4,096, blockwise",
        source="Sun et al. 2022, arXiv:2212.10554, table 3",
    ),
)

ROPE_VALUES = Method(
    build=rope_values,
    summary="RoPE on values too",
    promises=frozenset({Promise.ONE_MAP, Promise.SHIFT_INVARIANT, Promise.TRAINED_LENGTH_IS_ROPE}),
)
