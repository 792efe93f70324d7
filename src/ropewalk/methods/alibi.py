"""ALiBi as a method."""

from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.method import Method, Promise, Reach
from ropewalk.methods.policies import static_encoding
from ropewalk.scores.alibi import ALiBi, GeometricSlopes, PressSlopes, Slopes


def alibi(geometry: RopeGeometry, *, slopes: Literal["press", "geometric"] = "press") -> Encoding:
    """Logits fall with the distance, at a rate of its own in each head; nothing rotates.

    slopes  ``press``: of the released code; ``geometric``: the closed form for every head count

    Source: Press et al. 2021, Train Short, Test Long, arXiv:2108.12409.
    """
    rule: Slopes = PressSlopes() if slopes == "press" else GeometricSlopes()
    return static_encoding(geometry, None, ALiBi(slopes=rule))


ALIBI = Method(
    build=alibi,
    summary="logits fall linearly with the distance",
    promises=frozenset({Promise.ONE_MAP, Promise.ROTATES_NOTHING}),
    reach=Reach(
        untuned=30,
        short_context="for models trained with it",
        reason="512 trained tokens: perplexity 19.73 at 512, 18.31 at 15,512; flat at stride 1",
        source="Press et al. 2021, arXiv:2108.12409, table 2 and appendix B",
    ),
)
