"""Generators by name: the one table of retrieval tasks that can be asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks import niah
from ropewalk.evaluation.tasks.common_words import CommonWords
from ropewalk.evaluation.tasks.coreference import Coreference
from ropewalk.evaluation.tasks.frequent_words import FrequentWords
from ropewalk.evaluation.tasks.generator import Generator
from ropewalk.evaluation.tasks.graph_walks import BreadthFirst, Parents
from ropewalk.evaluation.tasks.haystacks import Noise, Prose
from ropewalk.evaluation.tasks.hidden_needles import HiddenNeedles
from ropewalk.evaluation.tasks.induction import Induction
from ropewalk.evaluation.tasks.key_value import KeyValue
from ropewalk.evaluation.tasks.passkey import Passkey
from ropewalk.evaluation.tasks.questions import Questions, read_questions
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.evaluation.tasks.variable_tracking import VariableTracking
from ropewalk.evaluation.tasks.words import words_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Materials:
    """What generators are made of, each part when it is first needed.

    texts      prose to hide needles in and to take words from
    questions  a JSONL file (``questions.py``), for ``qa``
    """

    tokens: Tokens
    texts: Sequence[str]
    questions: Path | None = None

    @cached_property
    def noise(self) -> Noise:
        return Noise.of(self.tokens)

    @cached_property
    def prose(self) -> Prose:
        return Prose.of(self.texts, self.tokens)

    @cached_property
    def ordinary(self) -> tuple[int, ...]:
        return tuple(self.tokens.ordinary())


def _needles(variant: niah.Variant, materials: Materials) -> Generator:
    return niah.Needles(variant=variant, haystack=materials.prose)


def _in_noise(variant: niah.Variant, materials: Materials) -> Generator:
    return niah.Needles(variant=variant, haystack=materials.noise)


def _among_needles(variant: niah.Variant, materials: Materials) -> Generator:
    return niah.Needles(variant=variant, haystack=None)


def _questions(materials: Materials) -> Generator:
    if materials.questions is None:
        raise RopewalkError("task qa: expected a file of questions; give --questions FILE")
    return Questions(questions=read_questions(materials.questions))


GENERATORS: Mapping[str, Callable[[Materials], Generator]] = MappingProxyType(
    {
        "needle": partial(_needles, niah.NEEDLE),
        "passkey": lambda materials: Passkey(haystack=materials.noise),
        "niah_single_1": partial(_in_noise, niah.SINGLE_1),
        "niah_single_2": partial(_needles, niah.SINGLE_2),
        "niah_single_3": partial(_needles, niah.SINGLE_3),
        "niah_multikey_1": partial(_needles, niah.MULTIKEY_1),
        "niah_multikey_2": partial(_among_needles, niah.MULTIKEY_2),
        "niah_multikey_3": partial(_among_needles, niah.MULTIKEY_3),
        "niah_multivalue": partial(_needles, niah.MULTIVALUE),
        "niah_multiquery": partial(_needles, niah.MULTIQUERY),
        "vt": lambda materials: VariableTracking(haystack=materials.noise),
        "cwe": lambda materials: CommonWords(
            haystack=materials.noise, words=words_of(materials.texts)
        ),
        "fwe": lambda materials: FrequentWords(haystack=materials.noise),
        "qa": _questions,
        "graph_bfs": lambda materials: BreadthFirst(haystack=materials.noise),
        "graph_parents": lambda materials: Parents(haystack=materials.noise),
        "coreference": lambda materials: Coreference.of(materials.prose),
        "needle_no_overlap": lambda materials: HiddenNeedles(haystack=materials.prose),
        "induction": lambda materials: Induction(pool=materials.ordinary),
        "key_value": lambda materials: KeyValue.of(materials.tokens),
    }
)


def generator(name: str, materials: Materials) -> Generator:
    """By name. Raises RopewalkError for an unknown one, or for materials that it lacks."""
    if name not in GENERATORS:
        raise RopewalkError(f"task {name}: expected one of {', '.join(GENERATORS)}")
    return GENERATORS[name](materials)
