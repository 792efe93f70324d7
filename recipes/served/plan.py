"""What is started and asked: one cell is one server and one verification of it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from recipes.served.models import FAMILIES

ENGINES = ("llama.cpp", "vllm", "sglang")
LISTS = "longrope:short_factor=@{lists}/short.json,long_factor=@{lists}/long.json,factor=4,"
METHODS = (
    "none",
    "linear:factor=4",
    "ntk_aware:factor=4",
    "abf:rope_theta=500000",
    "dynamic_ntk:policy=fixed,length=1024",
    "yarn:factor=4",
    "ntk_by_parts:factor=4",
    "yarn:factor=4,beta_fast=16,beta_slow=2",
    "yarn:factor=4,truncate=false",
    "llama3:factor=4",
    f"{LISTS}policy=fixed,length=1024",
    "yarn:factor=4,ramp=paper",
)
YARN = "yarn:factor=4"
NAMED = (
    *("none", "linear:factor=4", "ntk_aware:factor=4", "abf:rope_theta=500000"),
    *("dynamic_ntk:policy=fixed,length=1024", "dynamic_yarn:policy=fixed,length=1024"),
    *("yarn:factor=4", "yarn:factor=4,ramp=paper", "yarn:factor=4,truncate=false"),
    *("ntk_by_parts:factor=4", "llama3:factor=4"),
    f"{LISTS}policy=fixed,length=1024",
    *("resonance+yarn:factor=4", "clipped:clip_low_n=4"),
)
"""For the plug-ins: the static one-map methods of the table."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One server, asked once.

    part    demo, faults, plug-in, encoder, families or smollm2
    model   of ``models``
    served  what the server is started as: a method that is exported, or a fault by name
    asked   the method that it is verified against, over ``local``
    local   the model beside it
    length  tokens of the text; None: by default
    """

    part: str
    engine: str
    model: str
    served: str
    asked: str
    local: str
    length: int | None = None

    @property
    def key(self) -> str:
        """The name of its file: what decides the result."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


SHORT_TABLE = "a table of 256 rows"
PLAIN = "without the flags"
FAULTS: tuple[tuple[str, str, str], ...] = (
    ("yarn:factor=8", YARN, "demo"),
    ("yarn:factor=3.5", YARN, "demo"),
    ("yarn:factor=4,beta_fast=16,beta_slow=2", YARN, "demo"),
    ("abf:rope_theta=12000", "none", "demo"),
    (PLAIN, YARN, "demo"),
    ("linear:factor=4", YARN, "demo"),
    ("ntk_by_parts:factor=4", YARN, "demo"),
    (SHORT_TABLE, "dynamic_ntk:factor=4", "demo"),
    (YARN, YARN, "demo-4bit"),
)
"""(started as, asked for, the model that is served)"""


LONGER = "dynamic_ntk:policy=fixed,length=256"
ENCODED = (("none", "none"), (LONGER, LONGER), (YARN, YARN), ("none", LONGER))
"""(started as, asked for), of a tiny Nomic BERT"""


def cells() -> Iterator[Cell]:
    """All of them, the most telling first."""
    for engine in ENGINES:
        yield from (_own("demo", engine, "demo", method) for method in METHODS)
    for engine in ENGINES:
        yield from _faults(engine)
    for engine in ("vllm", "sglang"):
        yield from (_own("plug-in", engine, "demo", method) for method in NAMED)
    for served, asked in ENCODED:
        yield _cell("encoder", "vllm", "encoder", served, asked, "encoder")
    for engine in ENGINES:
        for family in FAMILIES:
            yield from (_own("families", engine, f"tiny-{family}", m) for m in ("none", YARN))
    for engine in ENGINES:
        for method in ("none", "yarn:factor=2"):
            yield replace(_own("smollm2", engine, "smollm2", method), length=1200)


def _faults(engine: str) -> Iterator[Cell]:
    for served, asked, model in FAULTS:
        # llama.cpp has no table, and SGLang's grows.
        if served != SHORT_TABLE or engine == "vllm":
            yield _cell("faults", engine, model, served, asked, "demo")


def _cell(part: str, engine: str, model: str, served: str, asked: str, local: str) -> Cell:
    return Cell(part=part, engine=engine, model=model, served=served, asked=asked, local=local)


def _own(part: str, engine: str, model: str, method: str) -> Cell:
    """A cell in which the server is started as what is asked for."""
    return _cell(part, engine, model, method, method, model)
