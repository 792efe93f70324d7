"""Method specs: how a method and its parameters are written in one word.

    spec  = part { "+" part }
    part  = name [ ":" key "=" value { "," key "=" value } ]

``factor=length`` stays symbolic: it is N / L0 of each length N at which the spec is used.
``native`` is the one name that no method has: the encoding that a model's own config asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.compose import compose
from ropewalk.methods.parameters import Parameter, Value, parameter, parameters_of
from ropewalk.methods.table import METHODS

FACTOR = "factor"
FROM_LENGTH = "length"
NATIVE = "native"
NAMES = (NATIVE, *METHODS)
"""Every name that a part of a spec may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One method, or ``native``, with the arguments given to it, in the order given."""

    name: str
    arguments: tuple[tuple[str, Value], ...] = ()

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """What the method takes; ``native`` takes nothing."""
        return {} if self.name == NATIVE else parameters_of(METHODS[self.name])

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; RopewalkError with the nearest name where there is none."""
        return parameter(self.name, self.parameters, name)

    @property
    def factor_from_length(self) -> bool:
        """Whether it says ``factor=length``."""
        return (FACTOR, FROM_LENGTH) in self.arguments

    @property
    def length_from_request(self) -> bool:
        """Whether L is that of a request (``policy=at_admission``)."""
        return ("policy", "at_admission") in self.arguments

    @property
    def factor_omitted(self) -> bool:
        """Whether the method needs a factor and neither it nor what replaces it was given."""
        given, known = dict(self.arguments), self.parameters
        if FACTOR not in known or FACTOR in given:
            return False
        instead = METHODS[self.name].replaces_factor
        return known[FACTOR].required if instead is None else instead not in given

    def with_factor(self, factor: float) -> "Part":
        """The same with that factor."""
        given = tuple(pair for pair in self.arguments if pair[0] != FACTOR)
        return replace(self, arguments=(*given, (FACTOR, factor)))

    def encoding(self, geometry: RopeGeometry, native: Encoding | None) -> Encoding:
        """What the method makes of the arguments; RopewalkError where one is missing."""
        if self.name == NATIVE:
            return _stated(native)
        given = dict(self.arguments)
        for name, known in self.parameters.items():
            if known.required and name not in given:
                raise RopewalkError(
                    f"{self.name} without {name}: expected for example {self.name}:{name}="
                    f"{'4' if name == FACTOR else '...'}"
                )
        return METHODS[self.name].build(geometry, **given)

    @property
    def canonical(self) -> str:
        """Name and every argument, defaults written out, sorted by key."""
        values: dict[str, Value] = {
            p.name: p.default for p in self.parameters.values() if not p.required
        }
        values.update(self.arguments)
        listed = ",".join(f"{key}={_written(values[key])}" for key in sorted(values))
        return f"{self.name}:{listed}" if listed else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A parsed method spec; ``text`` is as typed."""

    text: str
    parts: tuple[Part, ...]

    @property
    def depends_on_length(self) -> bool:
        """Whether each length gets an encoding of its own (``factor=length``, at_admission)."""
        return any(part.factor_from_length or part.length_from_request for part in self.parts)

    @property
    def needs_default_factor(self) -> bool:
        """Whether a method needs a factor and the spec does not state one."""
        return any(part.factor_omitted for part in self.parts)

    @property
    def canonical(self) -> str:
        """One spelling for equal specs, to be hashed: sorted, with defaults and lists in full.

        An omitted factor is not in it: hash ``spec.resolved(...).canonical`` where one is used.
        """
        return "+".join(sorted(part.canonical for part in self.parts))

    def resolved(
        self,
        geometry: RopeGeometry,
        *,
        default_factor: float | None = None,
        context_length: int | None = None,
    ) -> "Spec":
        """The same with every factor a number.

        default_factor  stands for an omitted factor
        context_length  N, resolves ``factor=length`` to max(1, N / L0)

        Raises RopewalkError where one of them is needed and missing.
        """
        if context_length is None and any(part.factor_from_length for part in self.parts):
            raise RopewalkError(
                f"{self.text}: factor=length without a context length; "
                "give a length, or a number for factor"
            )

        def with_number(part: Part) -> Part:
            if part.factor_from_length and context_length is not None:
                return part.with_factor(max(1.0, context_length / geometry.trained_length))
            if part.factor_omitted and default_factor is not None:
                return part.with_factor(float(default_factor))
            return part

        return replace(self, parts=tuple(map(with_number, self.parts)))

    def encoding(
        self,
        geometry: RopeGeometry,
        *,
        default_factor: float | None = None,
        context_length: int | None = None,
        native: Encoding | None = None,
    ) -> Encoding:
        """The encoding over ``geometry``; see ``resolved`` for the lengths.

        context_length  that of the request, too, where its length decides (at_admission)
        native          what the name ``native`` stands for (``from_config.native_encoding``)

        Raises RopewalkError for missing or impossible parameters.
        """
        resolved = self.resolved(
            geometry, default_factor=default_factor, context_length=context_length
        )
        built = [(part.name, part.encoding(geometry, native)) for part in resolved.parts]
        encoding = compose(geometry, built)
        if context_length is None:
            return encoding
        return replace(encoding, length_policy=encoding.length_policy.admitted(context_length))


def parse_spec(text: str) -> Spec:
    """Parse a method spec.

    Raises RopewalkError for an unknown method or key (naming the nearest), a value of the wrong
    type, a key given twice, or an empty part.
    """
    if not isinstance(text, str):
        raise RopewalkError(f"{text!r}: expected a method spec, such as yarn:factor=4")
    return Spec(text=text, parts=tuple(_parse_part(part, text) for part in text.split("+")))


def _parse_part(text: str, spec: str) -> Part:
    name, _, listed = text.strip().partition(":")
    if not name:
        raise RopewalkError(
            f"{spec!r}: expected name, name:key=value,key=value, or parts joined by +"
        )
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise RopewalkError(f"unknown method {name}: {hint}expected one of {', '.join(NAMES)}")
    part = Part(name=name)
    arguments: dict[str, Value] = {}
    for item in listed.split(",") if listed else ():
        key, equals, value = (word.strip() for word in item.partition("="))
        if not equals or not key or not value:
            raise RopewalkError(f"{spec}: {item!r}: expected key=value, joined by commas")
        if key in arguments:
            raise RopewalkError(f"{spec}: {key} is given twice; drop one")
        known = part.parameter(key)
        symbolic = key == FACTOR and value == FROM_LENGTH
        arguments[key] = FROM_LENGTH if symbolic else known.parse(value)
    return replace(part, arguments=tuple(arguments.items()))


def with_arguments(spec: Spec, arguments: Mapping[str, object]) -> Spec:
    """The spec with further arguments for its one part; RopewalkError where there are several."""
    if not arguments:
        return spec
    if len(spec.parts) > 1:
        raise RopewalkError(
            f"{spec.text} has {len(spec.parts)} parts: expected their parameters inside the spec"
        )
    (part,) = spec.parts
    for name in arguments:
        if name in dict(part.arguments):
            raise RopewalkError(f"{name} is given twice, in {spec.text} and beside it; drop one")
    added = [(name, part.parameter(name).check(arguments[name])) for name in arguments]
    return replace(spec, parts=(replace(part, arguments=(*part.arguments, *added)),))


def _stated(native: Encoding | None) -> Encoding:
    """The encoding that ``native`` stands for; a geometry alone does not know it."""
    if native is None:
        raise RopewalkError(
            "native needs the model's config, not a geometry alone: expected a model or a config; "
            "use none for unscaled RoPE"
        )
    return native


def _written(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{';'.join(map(repr, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
