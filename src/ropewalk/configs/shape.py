"""ModelShape: everything that is asked of a config, read once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ropewalk.configs.attention import Attention, Full, NoAttention, Recurrent
from ropewalk.configs.cache import (
    Cache,
    NoCache,
    caches_differ,
    read_cache,
    reads_another_cache,
)
from ropewalk.configs.defaults import Library, no_library, with_defaults
from ropewalk.configs.families import ROTATE_UNSTATED
from ropewalk.configs.keys import FULL
from ropewalk.configs.layer_keys import keys_of_layer, keys_of_type, layers_differ
from ropewalk.configs.layer_types import read_attention, read_layer_types
from ropewalk.configs.logit_scale import LogitScale, read_logit_scale
from ropewalk.configs.remote import remote_defaults
from ropewalk.configs.rope import RopeSection, read_longest, read_rope
from ropewalk.configs.rope_dicts import RopeDicts
from ropewalk.configs.switches import (
    NoRotation,
    bases_of_layers,
    read_no_rotation,
    unread_switches,
)
from ropewalk.configs.text import (
    model_type,
    states_rotation,
    text_model,
    text_section,
    with_text_keys,
)
from ropewalk.configs.unknown import Unknown, attempt, known
from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """Layers that are alike.

    layer_type  in the words of ``layer_types``
    layers      their indices, in order
    rope        their rotation; None: nothing rotates
    cache       what one of them keeps of a token
    logit_scale of their logits by position, that they were trained with; None: none
    """

    layer_type: str
    layers: tuple[int, ...]
    attention: Attention
    rope: RopeSection | Unknown | None
    cache: Cache | Unknown
    logit_scale: LogitScale | Unknown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a config says about a model.

    config        as it was given
    completed     the same as a library completes it; empty where none knows the family
    text          the text model's keys as stated: engines ask it for what only they read
    text_section  the names under which they stand, outermost first; empty for the whole
    longest       the length that it states, in tokens, None where it states none
    main_rope     the rotation of the layers that rotate and see farthest
    ropes         the rotation of each layer type that one may ask for
    kinds         the kinds of layer, in the order of their first layers
    unread        switches of rotation and windows that it states and the library does not read
    """

    config: Mapping[str, Any]
    completed: Mapping[str, Any]
    text: Mapping[str, Any]
    text_section: tuple[str, ...]
    model_type: str
    longest: int | None
    main_rope: RopeSection | NoRotation | Unknown
    ropes: Mapping[str, RopeSection | Unknown]
    kinds: tuple[LayerKind, ...] | Unknown
    unread: tuple[str, ...] = ()

    @property
    def without_rotation(self) -> str | None:
        """Why no layer rotates, None where one does."""
        return self.main_rope.reason if isinstance(self.main_rope, NoRotation) else None

    @property
    def trained_length(self) -> int:
        """L0, or the length that the config states where no layer rotates; in tokens.

        Raises RopewalkError where neither is known.
        """
        if self.without_rotation is None:
            return self.rope().trained_length
        if self.longest is None:
            raise RopewalkError(f"{self.model_type}: no length is stated; give one in tokens")
        return self.longest

    def rope(self, layer_type: str | None = None) -> RopeSection:
        """The rotation of one layer type; None: of those that rotate and see farthest.

        Raises RopewalkError for an unknown layer type, for one without a rotation, and for
        numbers that make none.
        """
        if isinstance(self.main_rope, NoRotation):
            raise RopewalkError(f"{self.main_rope.reason}; there is nothing to scale")
        if layer_type is None:
            return known(self.main_rope)
        if layer_type not in self.ropes:
            raise RopewalkError(
                f"layer type {layer_type}: expected one of {', '.join(self.ropes)}; "
                "name one of them"
            )
        return known(self.ropes[layer_type])

    def admitting(self, length: int) -> "ModelShape":
        """The same model, whose config states ``length`` as the longest that it was made for."""
        key = self.rope().longest_key
        return self.reread(with_text_keys(self.config, self.text_section, {key: length}))

    def reread(self, config: Mapping[str, Any]) -> "ModelShape":
        """The same model under other keys: what they leave unstated is what it was."""
        return read_model(config, lambda _: self.completed)


def read_model(config: Mapping[str, Any], library: Library = no_library) -> ModelShape:
    """Read a parsed config.json of any dialect.

    library  completes what is unstated; by default nothing is

    Raises RopewalkError for what is no config or states nothing about a rotation. What else is
    missing or wrong is raised when it is asked for.
    """
    stated = text_model(config)
    completed = library(config)
    unread = unread_switches(stated, completed)
    kept, theirs = (_without(keys, unread) for keys in (stated, completed))
    text = with_defaults(kept, theirs or remote_defaults(kept))
    dicts, own = RopeDicts.of(text), RopeDicts.of(stated)
    no_rotation = _no_rotation(text, completed)
    ropes: dict[str, RopeSection | Unknown] = {}
    main: RopeSection | NoRotation | Unknown
    if no_rotation is None:
        ropes = {name: attempt(_rope, dicts, own, name) for name in dicts.layer_types}
        main = attempt(_rope, dicts, own, None)
        kinds = attempt(_kinds, dicts, ropes, main)
        if not isinstance(kinds, Unknown) and all(kind.rope is None for kind in kinds):
            main, ropes = NoRotation("no layer rotates its queries and keys"), {}
    else:
        main = no_rotation
        kinds = attempt(_kinds, dicts, ropes, None)
    return ModelShape(
        config=config,
        completed=completed,
        text=stated,
        text_section=text_section(config),
        model_type=model_type(text),
        longest=_longest(text),
        main_rope=main,
        ropes=MappingProxyType(ropes),
        kinds=kinds,
        unread=unread,
    )


def _without(keys: Mapping[str, Any], dropped: tuple[str, ...]) -> Mapping[str, Any]:
    return {key: value for key, value in keys.items() if key not in dropped} if dropped else keys


def _rope(dicts: RopeDicts, own: RopeDicts, layer_type: str | None) -> RopeSection:
    """``own`` are the dicts that the config states, ``dicts`` those in force."""
    rope = dicts.of_layer_type(layer_type)
    section = read_rope(keys_of_type(dicts.text, rope.layer_type), rope)
    return replace(section, written=own.written(layer_type), nested=bool(own.by_layer_type))


def _longest(text: Mapping[str, Any]) -> int | None:
    found = attempt(read_longest, text)
    return None if isinstance(found, Unknown) else found[0]


def _no_rotation(text: Mapping[str, Any], completed: Mapping[str, Any]) -> NoRotation | None:
    """Raises RopewalkError for a text model of an unknown family that states no rotation."""
    if states_rotation(text):
        return read_no_rotation(text)
    if not completed or model_type(text) in ROTATE_UNSTATED:
        raise RopewalkError("no rope fields: expected rope_theta, rope_parameters or rope_scaling")
    return NoRotation(f"{model_type(text)} has no rotary encoding")


def _kinds(
    dicts: RopeDicts, ropes: Mapping[str, RopeSection | Unknown], main: RopeSection | Unknown | None
) -> tuple[LayerKind, ...]:
    """``main`` is None where no layer rotates."""
    text = dicts.text
    types = read_layer_types(text)
    attentions = {name: read_attention(text, name) for name in dict.fromkeys(types)}
    layers = [attentions[name] for name in types]
    bases = (0.0,) * len(types) if main is None else bases_of_layers(text, layers)
    places = range(len(types)) if caches_differ(text) or layers_differ(text) else (0,)
    caches = {
        (name, place): attempt(read_cache, keys_of_layer(text, place), attention, place)
        for name, attention in attentions.items()
        for place in places
    }
    alike: dict[tuple[str, Cache | Unknown, float | None], list[int]] = {}
    for index, (name, base) in enumerate(zip(types, bases, strict=True)):
        shares = reads_another_cache(text, index, len(types))
        cache = NoCache() if shares else caches[name, index % len(places)]
        alike.setdefault((name, cache, base), []).append(index)
    found = []
    for (name, cache, base), indices in alike.items():
        attention = attentions[name]
        rope = _of_layers(_rope_of_kind(dicts, ropes, main, name, attention), base)
        scale = attempt(read_logit_scale, text, attention, rope)
        found.append(
            LayerKind(
                layer_type=name,
                layers=tuple(indices),
                attention=attention,
                rope=rope,
                cache=cache,
                logit_scale=scale,
            )
        )
    return tuple(found)


def _of_layers(
    rope: RopeSection | Unknown | None, base: float | None
) -> RopeSection | Unknown | None:
    """The rotation of layers with that base; None: their type's, 0: none."""
    if base == 0:
        return None
    return replace(rope, rope_theta=base) if base and isinstance(rope, RopeSection) else rope


def _rope_of_kind(
    dicts: RopeDicts,
    ropes: Mapping[str, RopeSection | Unknown],
    main: RopeSection | Unknown | None,
    layer_type: str,
    attention: Attention,
) -> RopeSection | Unknown | None:
    """A layer type may be named otherwise than its rope dict: ``attention``, or a letter."""
    if main is None or isinstance(attention, Recurrent | NoAttention):
        return None
    name = FULL if isinstance(attention, Full) and layer_type not in ropes else layer_type
    if not dicts.by_layer_type:
        return ropes.get(name, main)
    return ropes[name] if isinstance(dicts.by_layer_type.get(name), Mapping) else None
