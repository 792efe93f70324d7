"""ModelShape: everything that is asked of a config, read once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ropewalk.configs.attention import Attention, Full, NoAttention, Recurrent
from ropewalk.configs.cache import Cache, NoCache, key_heads_differ, read_cache
from ropewalk.configs.defaults import Library, no_library, with_defaults
from ropewalk.configs.keys import FULL
from ropewalk.configs.layer_types import read_attention, read_layer_types
from ropewalk.configs.numbers import size
from ropewalk.configs.remote import remote_defaults
from ropewalk.configs.rope import RopeSection, read_rope
from ropewalk.configs.rope_dicts import RopeDicts
from ropewalk.configs.text import model_type, require_rotation, text_model, text_section
from ropewalk.configs.unknown import Unknown, attempt, known
from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """Layers that are alike.

    layer_type  in the words of ``layer_types``
    layers      their indices, in order
    rope        their rotation; None: nothing rotates
    cache       what one of them keeps of a token
    """

    layer_type: str
    layers: tuple[int, ...]
    attention: Attention
    rope: RopeSection | Unknown | None
    cache: Cache | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a config says about a model.

    config        as it was given
    completed     the same as a library completes it; empty where none knows the family
    text          the text model's keys as stated: engines ask it for what only they read
    text_section  name of the section that holds them, or None
    main_rope     the rotation of full attention, where its layers turn
    ropes         the rotation of each layer type that one may ask for
    kinds         the kinds of layer, in the order of their first layers
    """

    config: Mapping[str, Any]
    completed: Mapping[str, Any]
    text: Mapping[str, Any]
    text_section: str | None
    model_type: str
    main_rope: RopeSection | Unknown
    ropes: Mapping[str, RopeSection | Unknown]
    kinds: tuple[LayerKind, ...] | Unknown

    def rope(self, layer_type: str | None = None) -> RopeSection:
        """The rotation of one layer type; None: of full attention, where its layers turn.

        Raises RopewalkError for an unknown layer type, for one without a rotation, and for
        numbers that make none.
        """
        if layer_type is None:
            return known(self.main_rope)
        if layer_type not in self.ropes:
            raise RopewalkError(
                f"layer type {layer_type}: expected one of {', '.join(self.ropes)}; "
                "name one of them"
            )
        return known(self.ropes[layer_type])

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
    text = with_defaults(stated, text_model(completed) or remote_defaults(stated))
    require_rotation(text)
    dicts, own = RopeDicts.of(text), RopeDicts.of(stated)
    ropes = {name: attempt(_rope, dicts, own, name) for name in dicts.layer_types}
    main = attempt(_rope, dicts, own, None)
    return ModelShape(
        config=config,
        completed=completed,
        text=stated,
        text_section=text_section(config),
        model_type=model_type(text),
        main_rope=main,
        ropes=MappingProxyType(ropes),
        kinds=attempt(_kinds, dicts, ropes, main),
    )


def _rope(dicts: RopeDicts, own: RopeDicts, layer_type: str | None) -> RopeSection:
    """``own`` are the dicts that the config states, ``dicts`` those in force."""
    section = read_rope(dicts.text, dicts.of_layer_type(layer_type))
    return replace(section, written=own.written(layer_type), nested=bool(own.by_layer_type))


def _kinds(
    dicts: RopeDicts, ropes: Mapping[str, RopeSection | Unknown], main: RopeSection | Unknown
) -> tuple[LayerKind, ...]:
    text = dicts.text
    types = read_layer_types(text)
    attentions = {name: read_attention(text, name) for name in dict.fromkeys(types)}
    places = range(len(types)) if key_heads_differ(text) else (0,)
    caches = {
        (name, place): attempt(read_cache, text, attention, place)
        for name, attention in attentions.items()
        for place in places
    }
    own = len(types) - (size(text, "num_kv_shared_layers") or 0)
    alike: dict[tuple[str, Cache | Unknown], list[int]] = {}
    for index, name in enumerate(types):
        cache = caches[name, index % len(places)] if index < own else NoCache()
        alike.setdefault((name, cache), []).append(index)
    return tuple(
        LayerKind(
            layer_type=name,
            layers=tuple(layers),
            attention=attentions[name],
            rope=_rope_of_kind(dicts, ropes, main, name, attentions[name]),
            cache=cache,
        )
        for (name, cache), layers in alike.items()
    )


def _rope_of_kind(
    dicts: RopeDicts,
    ropes: Mapping[str, RopeSection | Unknown],
    main: RopeSection | Unknown,
    layer_type: str,
    attention: Attention,
) -> RopeSection | Unknown | None:
    """A layer type may be named otherwise than its rope dict: ``attention``, or a letter."""
    if isinstance(attention, Recurrent | NoAttention):
        return None
    name = FULL if isinstance(attention, Full) and layer_type not in ropes else layer_type
    if not dicts.by_layer_type:
        return ropes.get(name, main)
    return ropes[name] if isinstance(dicts.by_layer_type.get(name), Mapping) else None
