"""The study of encodings, for docs/encodings.md: loss by length, and what became of each claim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from recipes.pages import IMAGES, README, ROOT, Blocks, Record, result, table, where
from ropewalk.evaluation.bootstrap import Difference, paired_difference
from ropewalk.evaluation.units import LOSS, Ratio, Unit

PAGE = ROOT / "docs" / "encodings.md"
ORDER = ("alibi", "t5_bias", "none", "sinusoidal")
"""Of the survey, past the trained length: the best first."""
NAMES = {"none": "RoPE (`none`)"}
FLAT = 0.01
"""Nats within which a curve counts as flat."""


def blocks() -> Blocks:
    document = result("encodings")
    _draw(document)
    return {
        PAGE: {
            "encodings-setting": _setting(document),
            "encodings-tails": _losses(document, "tail_nats"),
            "encodings-whole": _losses(document, "whole_windows_nats"),
            "encodings-claims": _claims(document),
        },
        README: {"encodings": _headline(document)},
    }


def _models(document: Record) -> list[Record]:
    """The best at the longest length first."""
    last = _lengths(document)[-1]
    models = list(document["models"].values())
    return sorted(models, key=lambda model: model["lengths"][str(last)]["tail_nats"])


def _lengths(document: Record) -> list[int]:
    first = next(iter(document["models"].values()))
    return sorted(int(length) for length in first["lengths"])


def _name(model: Record) -> str:
    spec = model["encoding"]
    return NAMES.get(spec, f"`{spec}`")


def _setting(document: Record) -> str:
    models = document["models"].values()
    least, most = (choose(m["parameters"] for m in models) for choose in (min, max))
    tokens = document["steps"] * document["tokens_per_step"]
    targets = document["targets_of_a_document"]
    return (
        f"Decoders of {least:,} to {most:,} parameters, one for each encoding, from "
        f"the same seed over the same {tokens:,} bytes in the same order, at a trained length of "
        f"{document['trained_length']} bytes ({where(document)}). Each is measured on "
        f"{targets:,} bytes of each of {len(document['documents'])} held-out texts.\n"
    )


def _headline(document: Record) -> str:
    """The order of the survey, as it was measured."""
    study, last = Study(document), _lengths(document)[-1]
    found = sorted((name for name in ORDER if name in study), key=lambda n: study.nats(n, last))
    told = ", ".join(f"`{name}` {study.nats(name, last):.2f}" for name in found)
    return (
        f"Trained at {document['trained_length']} bytes with one encoding each and read at "
        f"{last:,}, small decoders stand in this order, in nats a byte: {told}. The other lengths, "
        f"and what became of each claim of the survey: [docs/encodings.md](docs/encodings.md).\n"
    )


def _losses(document: Record, key: str) -> str:
    lengths, trained = _lengths(document), document["trained_length"]
    header = ["encoding", *(f"{n:,}{' (trained)' if n == trained else ''}" for n in lengths)]
    rows = [
        [_name(model), *(f"{model['lengths'][str(n)][key]:.3f}" for n in lengths)]
        for model in _models(document)
    ]
    return table(
        [*header, "extra parameters"],
        [
            [*row, f"{model['parameters_of_the_encoding']:,}"]
            for row, model in zip(rows, _models(document), strict=True)
        ],
    )


# Claims.


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the survey or a paper says, and how the results answer.

    needs  encodings without which it cannot be answered
    """

    text: str
    needs: Sequence[str]
    answer: Callable[["Study"], tuple[str, str]]


class Study:
    """Models by encoding; of several seeds the first."""

    def __init__(self, document: Record) -> None:
        self.trained, self.lengths = document["trained_length"], _lengths(document)
        self._tail = document["tail_tokens"]
        self._models = {}
        for model in document["models"].values():
            self._models.setdefault(model["encoding"], model)

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


def _claims(document: Record) -> str:
    study = Study(document)
    rows = []
    for claim in CLAIMS:
        answered = all(each in study for each in claim.needs)
        verdict, evidence = claim.answer(study) if answered else ("not measured", "-")
        rows.append(f"| {claim.text} | {verdict} | {evidence} |")
    return "\n".join(["| claim | here | evidence |", "|---|---|---|", *rows]) + "\n"


def _order(study: Study) -> tuple[str, str]:
    """Each pair of neighbours at each length past the trained one."""
    told, held = [], True
    for better, worse in pairwise(ORDER):
        beyond = [n for n in study.lengths if n > study.trained]
        signs = [study.over((worse, n), (better, n)) for n in beyond]
        lows = [d.interval.low if d.interval else d.value for d in signs]
        clear = sum(low > 0 for low in lows)
        held = held and clear == len(beyond)
        told.append(f"{better} over {worse}: clear at {clear} of {len(beyond)} lengths")
    return "confirmed" if held else "refuted in part", "; ".join(told)


def _flat(study: Study) -> tuple[str, str]:
    change = study.over(("alibi", study.lengths[-1]), ("alibi", study.trained))
    flat = abs(change.value) < FLAT
    whole = [study.nats("alibi", n, "whole_windows_nats") for n in (128, study.lengths[-1])]
    text = f"tails {_shown(change)}; whole windows {whole[1] - whole[0]:+.3f}"
    return ("confirmed" if flat and whole[1] < whole[0] else "refuted"), text


def _breaks(encoding: str) -> Callable[[Study], tuple[str, str]]:
    def answer(study: Study) -> tuple[str, str]:
        change = study.over((encoding, 2 * study.trained), (encoding, study.trained))
        low = change.interval.low if change.interval else change.value
        return ("confirmed" if low > 0 else "not seen at this size"), f"at 2x {_shown(change)}"

    return answer


def _t5_near(study: Study) -> tuple[str, str]:
    change = study.over(("t5_bias", study.trained), ("alibi", study.trained))
    interval = change.interval
    low, high = (interval.low, interval.high) if interval else (change.value, change.value)
    verdict = "refuted" if low > 0 else "confirmed" if high <= 0 else "not seen at this size"
    return verdict, f"t5_bias minus alibi at {study.trained}: {_shown(change)}"


def _beats(one: str, other: str) -> Callable[[Study], tuple[str, str]]:
    def answer(study: Study) -> tuple[str, str]:
        last = study.lengths[-1]
        change = study.over((one, last), (other, last))
        interval = change.interval
        if interval is not None and interval.high < 0:
            return "confirmed", f"at {last:,} {_shown(change)}"
        refuted = interval is not None and interval.low > 0
        return ("refuted" if refuted else "not seen at this size"), f"at {last:,} {_shown(change)}"

    return answer


def _shown(change: Difference) -> str:
    """``+0.12 nats (0.05 to 0.19)``."""
    if change.interval is None:
        return f"{change.value:+.3f} nats"
    return f"{change.value:+.3f} nats ({change.interval.low:+.3f} to {change.interval.high:+.3f})"


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
)


def _draw(document: Record) -> None:
    """Loss against length, each encoding a line."""
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    lengths = _lengths(document)
    for model in _models(document):
        nats = [model["lengths"][str(n)]["tail_nats"] for n in lengths]
        axes.plot(lengths, np.array(nats), marker="o", markersize=3, label=model["encoding"])
    axes.axvline(document["trained_length"], color="grey", linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [f"{n:,}" for n in lengths])
    axes.set_xlabel("context length in bytes")
    axes.set_ylabel("nats a byte")
    axes.legend(frameon=False, fontsize=8)
    IMAGES.mkdir(exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "ropewalk"}):
        figure.savefig(
            IMAGES / "encodings.svg", format="svg", bbox_inches="tight", metadata={"Date": None}
        )
