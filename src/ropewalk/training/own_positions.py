"""What limits a decoder by the encodings that it was trained with."""

from collections.abc import Mapping
from typing import Any

from ropewalk.core.encoding import Encoding
from ropewalk.core.own_positions import OwnPositions
from ropewalk.inputs.learned import LearnedPositions
from ropewalk.methods.method import Method
from ropewalk.methods.spec import parse_spec
from ropewalk.methods.stretched_biases import methods_that_stretch
from ropewalk.methods.table import METHODS
from ropewalk.training.decoder_config import decoder_config


def positions_of_decoder(config: Mapping[str, Any]) -> list[OwnPositions]:
    """Of a parsed config.json: one for each spec."""
    decoder = decoder_config(config)
    kinds = dict(zip(decoder.layer_specs, decoder.layer_encodings, strict=True))
    return [_positions(spec, encoding) for spec, encoding in kinds.items()]


def _positions(spec: str, encoding: Encoding) -> OwnPositions:
    tables = [each.rows for each in encoding.inputs if isinstance(each, LearnedPositions)]
    methods = [METHODS[part.name] for part in parse_spec(spec).parts]
    return OwnPositions(
        kind=spec,
        limit="; ".join(map(_reported, methods)),
        last_length=min(tables, default=None),
        methods=methods_that_stretch(encoding),
    )


def _reported(method: Method) -> str:
    """How far it was reported to carry, or what it is."""
    if method.reach is None:
        return f"{method.name}: {method.summary}"
    return f"{method.name}: {method.reach.reason} ({method.reach.source})"
