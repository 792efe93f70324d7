"""The records behind pictures: what ``ropewalk plot`` draws and prints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ropewalk.analysis.angles import angles
from ropewalk.analysis.case import Case, Record
from ropewalk.analysis.decay import decay
from ropewalk.analysis.distances import distances
from ropewalk.analysis.pairs import reach, wavelengths
from ropewalk.configs.rope import RopeSection
from ropewalk.core.encoding import Encoding
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.inspection import trained_encoding
from ropewalk.methods.spec import parse_spec

PICTURES: Mapping[str, Callable[..., Record]] = MappingProxyType(
    {each.__name__: each for each in (distances, angles, wavelengths, reach, decay)}
)
"""What collects each picture's data, of one case; of ``angles``, of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The rotation that a config states, and a name for titles."""

    name: str
    section: RopeSection

    def stated(self, method: str, length: int) -> str:
        """The spec with an omitted factor written out: length / L0, at least 1."""
        factor = max(1.0, length / self.section.trained_length)
        written = []
        for text, part in zip(method.split("+"), parse_spec(method).parts, strict=True):
            joint = "," if part.arguments else ":"
            written.append(f"{text}{joint}factor={factor:.12g}" if part.factor_omitted else text)
        return "+".join(written)

    def case(self, methods: Sequence[str], length: int) -> Case:
        """Methods at one context length.

        Raises RopewalkError for a spec, or numbers of the config, with which there is no encoding.
        """
        section, native = self.section, native_encoding(self.section)

        def encoding(spec: str) -> Encoding:
            return parse_spec(spec).encoding(native.geometry, context_length=length, native=native)

        specs = [self.stated(method, length) for method in methods]
        return Case(
            encodings=tuple((spec, encoding(spec)) for spec in specs),
            trained=trained_encoding(section).rotation.inv_freq(section.trained_length),
            trained_length=section.trained_length,
            context_length=length,
        )


def picture(name: str, subject: Subject, methods: Sequence[str], lengths: Sequence[int]) -> Record:
    """The record of a picture, one of ``PICTURES``, at one length or, of ``angles``, at several.

    An omitted factor is written out. Raises RopewalkError as ``Subject.case`` does, and for a
    length that is too long for the picture.
    """
    geometry = subject.section.geometry()
    return {
        "plot": name,
        "model": subject.name,
        "head_dim": geometry.head_dim,
        "rope_theta": geometry.rope_theta,
        "trained_length": geometry.trained_length,
        "context_length": max(lengths),
        **PICTURES[name](*(subject.case(methods, length) for length in lengths)),
    }
