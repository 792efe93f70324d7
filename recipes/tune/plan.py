"""The runs: each a checkpoint tuned to 1,024 tokens from the demo model, trained length 256."""

from dataclasses import dataclass, field
from typing import Any

TRAINED, LENGTH = 256, 1024
PI, YARN, ABF = "linear:factor=4", "yarn:factor=4", "abf:rope_theta=50000"
BY_PARTS = "ntk_by_parts:factor=4"
SEARCHED = "searched factors"
"""Not a spec: what ``rw.search`` finds for the untuned model at ``LENGTH``, on the demo book."""
TEXTS = (
    "austen_emma.txt",
    "austen_mansfield_park.txt",
    "austen_northanger_abbey.txt",
    "austen_pride_and_prejudice.txt",
    "austen_sense_and_sensibility.txt",
    "bible_kjv.txt",
    "milton_paradise_lost.txt",
    "shakespeare_complete_works.txt",
    "sotu_1790_1960.txt",
)
"""All that the demo model was trained on: on some of it alone, it forgets the rest (LOG.md)."""
HELDOUT = ("melville_moby_dick.txt", "loc_electronic_texts_1992.txt")
MEASURED: dict[str, Any] = {"lengths": (TRAINED, LENGTH), "windows": 8, "tail_tokens": 128}


HIGH, LOW = 0.0010304818322065669, 3e-4
"""Peak rates: that of Kaplan et al. 2020 for a training of this model from scratch, and about a
third of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRun:
    """One run; a step is 4,096 tokens in all of them."""

    name: str
    title: str
    method: str
    steps: int
    length: int = LENGTH
    rate: float = HIGH
    words: dict[str, Any] = field(default_factory=dict)


STEPS = 40
SHORT = {"batch": 16}
"""Windows of the trained length: as many tokens a step as four of 1,024."""


def _at_both_rates(name: str, title: str, method: str, **words: Any) -> tuple[TuneRun, TuneRun]:
    """``STEPS`` steps at each rate."""
    return (
        TuneRun(name=f"{name}-40", title=title, method=method, steps=STEPS, **words),
        TuneRun(name=f"{name}-low-40", title=title, method=method, steps=STEPS, rate=LOW, **words),
    )


FULL = "full length"
RUNS = (
    TuneRun(name="pi-320", title=f"PI, {FULL}", method=PI, steps=8 * STEPS),
    TuneRun(name="pi", title=f"PI, {FULL}", method=PI, steps=4 * STEPS),
    TuneRun(name="pi-low", title=f"PI, {FULL}", method=PI, steps=4 * STEPS, rate=LOW),
    *_at_both_rates("pi", f"PI, {FULL}", PI),
    *_at_both_rates("pi-pose", "PI, PoSE", PI, words={**SHORT, "sampler": "pose"}),
    *_at_both_rates("pi-cream", "PI, CREAM", PI, words={**SHORT, "sampler": "cream"}),
    *_at_both_rates("yarn", f"YaRN, {FULL}", YARN),
    *_at_both_rates("by-parts", f"NTK-by-parts, {FULL}", BY_PARTS),
    *_at_both_rates("abf", f"ABF 50,000, {FULL}", ABF),
    *_at_both_rates("searched", f"searched, {FULL}", SEARCHED),
    TuneRun(
        name="searched-low", title=f"searched, {FULL}", method=SEARCHED, steps=4 * STEPS, rate=LOW
    ),
    *_at_both_rates(
        "control", "control: no method, 256 tokens", "native", length=TRAINED, words=SHORT
    ),
)
UNTUNED = "self_extend"
"""What no tuned probe beat: measured beside them, untuned."""
