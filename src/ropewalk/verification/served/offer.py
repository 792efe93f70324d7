"""What a server may compute, as encodings for the local model: what was asked comes first."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2

from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.instead import INSTEAD, UNSCALED, Instead, frozen_at
from ropewalk.methods.by_layer import Encode, Native, encoders
from ropewalk.methods.spec import FACTOR, NATIVE, Spec, parse_spec
from ropewalk.verification.neighbours import NEIGHBOURS

UNSCALED_NAME = "none"
_OTHER_METHODS = ("linear", "ntk_aware", "ntk_by_parts", "yarn", "llama3")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One of them.

    findings  kinds of audit finding that explain it, the likeliest first
    encode    how the local model is given it
    """

    name: str
    findings: tuple[str, ...] = ()
    encode: Encode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """The model and what the server should compute.

    length    tokens of the text
    admitted  tokens of the longest prompt that the server takes, where it says so
    """

    shape: ModelShape
    spec: Spec
    length: int
    admitted: int | None
    asked: Encode
    native: Native

    @classmethod
    def of(cls, shape: ModelShape, spec: Spec, length: int, admitted: int | None) -> "Offer":
        """Raises RopewalkError for a spec with which the model has no encoding."""
        asked, native = encoders(shape, spec, context_length=length)
        return cls(
            shape=shape, spec=spec, length=length, admitted=admitted, asked=asked, native=native
        )

    @property
    def trained_length(self) -> int:
        return self.shape.rope().trained_length

    @property
    def _lengths(self) -> list[int]:
        """Lengths at which an engine may have frozen its base: its own, and the text's."""
        own = [] if self.admitted is None else [self.admitted + 1]
        return [*own, self.length]

    @property
    def table_ends(self) -> frozenset[int]:
        """Rows of a table that an engine may have built too short: the lengths of the config."""
        section = self.shape.rope()
        return frozenset({section.trained_length, section.max_position_embeddings})

    def candidates(self) -> list[Candidate]:
        """What was asked; unscaled RoPE; what engines make of what was asked; other methods."""
        departures = [
            Candidate(name=f"{self.spec.text}, {each.name}", findings=each.findings, encode=encode)
            for each in (*INSTEAD, *map(frozen_at, self._lengths))
            if (encode := self._changed(each)) is not None
        ]
        unscaled, *others = [
            Candidate(name=name, findings=UNSCALED if name == UNSCALED_NAME else (), encode=encode)
            for name in (UNSCALED_NAME, *self._other_specs())
            if (encode := self._encode_of(name)) is not None
        ]
        asked = Candidate(name=self.spec.text, encode=self.asked)
        listed = [asked, unscaled, *departures, *others]
        return [each for each in listed if each is asked or each.name != asked.name]

    def _other_specs(self) -> list[str]:
        parts = self.spec.parts
        stated = [dict(part.arguments).get(FACTOR) for part in parts]
        factors = [value for value in stated if isinstance(value, float)]
        config = self.shape.rope().number(FACTOR)
        # Factors are mostly powers of two.
        default = config or 2.0 ** ceil(log2(max(1.0, self.length / self.trained_length)))
        factor = factors[0] if factors else default
        scaled = any(each.rope_type != "default" for each in self._ropes)
        own = [NATIVE] if scaled else []
        others = [*own, *(f"{name}:factor={factor:g}" for name in _OTHER_METHODS)]
        if len(parts) == 1 and factors:
            name = parts[0].name
            others += [f"{name}:factor={value:g}" for value in (2 * factor, factor / 2)]
        return others

    @property
    def _ropes(self) -> list[RopeSection]:
        return [self.shape.rope(name) for name in self.shape.ropes] or [self.shape.rope()]

    def _encode_of(self, spec: str) -> Encode | None:
        """None for a method that this model or config cannot have."""
        try:
            encode, _ = encoders(self.shape, parse_spec(spec), context_length=self.length)
            encode(None)
        except RopewalkError:
            return None
        return encode

    def _changed(self, instead: Instead) -> Encode | None:
        """None where it changes no layer type."""

        def encode(layer_type: str | None) -> Encoding | None:
            asked = self.asked(layer_type) or self.native(layer_type)
            return instead.change(asked) or asked

        types: list[str | None] = [*self.shape.ropes] or [None]
        asked = [self.asked(name) or self.native(name) for name in types]
        return encode if any(instead.change(each) for each in asked) else None

    def beside(self, candidate: Candidate) -> list[Candidate]:
        """The encodings close to one."""

        def near(change: Callable[[Encoding], Encoding]) -> Encode:
            return lambda layer_type: change(
                candidate.encode(layer_type) or self.native(layer_type)
            )

        return [Candidate(name=name, encode=near(each)) for name, each in NEIGHBOURS.items()]
