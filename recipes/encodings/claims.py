"""What the survey and papers say of encodings, and how the study answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from recipes.pages import Record
from ropewalk.evaluation.bootstrap import Difference, paired_difference
from ropewalk.evaluation.units import LOSS, Ratio, Unit

ORDER = ("alibi", "t5_bias", "none", "sinusoidal")
"""Of the survey, past the trained length: the best first."""
FLAT = 0.01
"""Nats within which a curve counts as flat."""
CONFIRMED, REFUTED, IN_PART, UNSEEN = (
    "confirmed",
    "refuted",
    "refuted in part",
    "not seen at this size",
)
Answer = tuple[str, str]


class Study:
    """Models by encoding and seed."""

    def __init__(self, document: Record, seed: int = 0) -> None:
        self.trained, self._tail = document["trained_length"], document["tail_tokens"]
        every = document["models"].values()
        self._models = {each["encoding"]: each for each in every if each["seed"] == seed}
        lengths = {int(n) for model in self._models.values() for n in model["lengths"]}
        self.lengths = sorted(lengths)

    def __contains__(self, encoding: str) -> bool:
        return encoding in self._models

    def nats(self, encoding: str, length: int, key: str = "tail_nats") -> float:
        return float(self._models[encoding]["lengths"][str(length)][key])

    def units(self, encoding: str, length: int) -> list[Unit]:
        tails = self._models[encoding]["lengths"][str(length)]["tails"]
        return [
            Unit(
                document=document,
                window=window,
                values={LOSS.name: Ratio(nats * self._tail, float(self._tail))},
            )
            for document, each in enumerate(tails)
            for window, nats in enumerate(each)
        ]

    def over(self, one: tuple[str, int], other: tuple[str, int]) -> Difference:
        """Nats of one encoding at a length above another's, over the same targets."""
        return paired_difference(self.units(*one), self.units(*other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the survey or a paper says, and how the results answer.

    needs  encodings without which it cannot be answered
    """

    text: str
    needs: Sequence[str]
    answer: Callable[[Study], Answer]


def answered(claim: Claim, study: Study) -> Answer:
    """Verdict and evidence."""
    if not all(each in study for each in claim.needs):
        return "not measured", "-"
    return claim.answer(study)


def bounds(difference: Difference) -> tuple[float, float]:
    """Of its interval; the value twice without one."""
    interval = difference.interval
    return (difference.value,) * 2 if interval is None else (interval.low, interval.high)


def shown(difference: Difference) -> str:
    """``+0.12 nats (+0.05 to +0.19)``."""
    low, high = bounds(difference)
    return f"{difference.value:+.3f} nats ({low:+.3f} to {high:+.3f})"


def _order(study: Study) -> Answer:
    """Each pair of neighbours at each length past the trained one."""
    told, held = [], True
    for better, worse in pairwise(ORDER):
        beyond = [n for n in study.lengths if n > study.trained]
        clear = [n for n in beyond if bounds(study.over((worse, n), (better, n)))[0] > 0]
        held = held and clear == beyond
        places = ", ".join(f"{n:,}" for n in clear) or "no length"
        told.append(f"{better} before {worse}: clear at {places}")
    return (CONFIRMED if held else IN_PART), "; ".join(told)


def _flat(study: Study) -> Answer:
    last = study.lengths[-1]
    change = study.over(("alibi", last), ("alibi", study.trained))
    whole = [study.nats("alibi", n, "whole_windows_nats") for n in (study.trained, last)]
    text = f"from {study.trained} to {last:,}: tails {shown(change)}"
    gains = whole[1] < whole[0]
    verdict = REFUTED if abs(change.value) >= FLAT else CONFIRMED if gains else UNSEEN
    return verdict, f"{text}; whole windows {whole[1] - whole[0]:+.3f}"


def _breaks(encoding: str) -> Callable[[Study], Answer]:
    def answer(study: Study) -> Answer:
        change = study.over((encoding, 2 * study.trained), (encoding, study.trained))
        return (CONFIRMED if bounds(change)[0] > 0 else UNSEEN), f"at 2x {shown(change)}"

    return answer


def _t5_near(study: Study) -> Answer:
    change = study.over(("t5_bias", study.trained), ("alibi", study.trained))
    low, high = bounds(change)
    verdict = REFUTED if low > 0 else CONFIRMED if high <= 0 else UNSEEN
    return verdict, f"t5_bias over alibi at {study.trained}: {shown(change)}"


def _beats(one: str, other: str) -> Callable[[Study], Answer]:
    def answer(study: Study) -> Answer:
        last = study.lengths[-1]
        change = study.over((one, last), (other, last))
        low, high = bounds(change)
        verdict = CONFIRMED if high < 0 else REFUTED if low > 0 else UNSEEN
        return verdict, f"{one} over {other} at {last:,}: {shown(change)}"

    return answer


def _holds(encoding: str) -> Callable[[Study], Answer]:
    """Whether nothing is lost from the trained length to the longest."""

    def answer(study: Study) -> Answer:
        last = study.lengths[-1]
        change = study.over((encoding, last), (encoding, study.trained))
        low, high = bounds(change)
        verdict = REFUTED if low > FLAT else CONFIRMED if high <= FLAT else UNSEEN
        return verdict, f"at {last:,} {shown(change)}"

    return answer


CLAIMS = (
    Claim(
        text="Past the trained length ALiBi is better than T5's bias, that than RoPE, that than "
        "sinusoidal (the survey; Press et al. 2021, figure 1)",
        needs=ORDER,
        answer=_order,
    ),
    Claim(
        text="ALiBi's gain with length is one of early tokens: with nearly the whole context "
        "before each scored token it is flat (Press et al. 2021, appendix B)",
        needs=("alibi",),
        answer=_flat,
    ),
    Claim(
        text="RoPE fails soon after the trained length (Press et al. 2021, table 2)",
        needs=("none",),
        answer=_breaks("none"),
    ),
    Claim(
        text="Sinusoidal positions fail soon after the trained length (the same)",
        needs=("sinusoidal",),
        answer=_breaks("sinusoidal"),
    ),
    Claim(
        text="At the trained length T5's bias is at least as good as ALiBi (the same)",
        needs=("t5_bias", "alibi"),
        answer=_t5_near,
    ),
    Claim(
        text="Learned kernels extrapolate better than ALiBi (Chi et al. 2022, KERPLE)",
        needs=("kerple", "alibi"),
        answer=_beats("kerple", "alibi"),
    ),
    Claim(
        text="xPos extrapolates better than RoPE (Sun et al. 2022)",
        needs=("xpos", "none"),
        answer=_beats("xpos", "none"),
    ),
    Claim(
        text="No positions at all extrapolate better than RoPE (Kazemnejad et al. 2023)",
        needs=("nope", "none"),
        answer=_beats("nope", "none"),
    ),
    Claim(
        text="Relative keys lose nothing past their clipped distance (Shaw et al. 2018)",
        needs=("shaw:tables=keys",),
        answer=_holds("shaw:tables=keys"),
    ),
    Claim(
        text="FIRE interpolates: nothing is lost at longer lengths (Li et al. 2023)",
        needs=("fire",),
        answer=_holds("fire"),
    ),
    Claim(
        text="Forget gates carry past the trained length (Lin et al. 2025, FoX)",
        needs=("fox",),
        answer=_holds("fox"),
    ),
    Claim(
        text="RoPE beside ALiBi keeps what RoPE alone loses past the trained length",
        needs=("alibi+none", "none"),
        answer=_beats("alibi+none", "none"),
    ),
)
