"""Absolute positions, added to embeddings, as methods."""

from dataclasses import replace

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.inputs.learned import LearnedPositions
from ropewalk.inputs.sinusoidal import Sinusoidal
from ropewalk.methods.method import Method, Promise, Reach
from ropewalk.methods.policies import static_encoding


def learned(geometry: RopeGeometry, *, rows: int | None = None) -> Encoding:
    """A learned vector for each position is added to embeddings; attention sees no position.

    rows  of the table, by default the trained length; nothing can be read past it

    Source: Gehring et al. 2017, arXiv:1705.03122, section 3.1.
    """
    table = LearnedPositions(rows=geometry.trained_length if rows is None else rows)
    return replace(static_encoding(geometry, None), inputs=(table,))


def sinusoidal(geometry: RopeGeometry, *, base: float = 10000.0) -> Encoding:
    """Sines and cosines of the position are added to embeddings.

    base  the slowest channel turns about once in 2 pi base tokens

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    return replace(static_encoding(geometry, None), inputs=(Sinusoidal(base=base),))


_ABSOLUTE = frozenset({Promise.ONE_MAP, Promise.ROTATES_NOTHING, Promise.TRAINED})

LEARNED = Method(
    build=learned,
    summary="a learned vector for each position, up to a table's end",
    promises=_ABSOLUTE,
    reach=Reach(
        untuned=1,
        short_context="for models trained with it",
        reason="there is no vector past the table",
        source="Press et al. 2021, arXiv:2108.12409, section 2",
    ),
)

SINUSOIDAL = Method(
    build=sinusoidal,
    summary="sines and cosines of the position, added to embeddings",
    promises=_ABSOLUTE,
    reach=Reach(
        untuned=1,
        short_context="for models trained with it",
        reason="512 trained tokens: perplexity 20.05 at 512, 24.86 at 712, 50.36 at 1,112",
        source="Press et al. 2021, arXiv:2108.12409, table 2",
    ),
)
