"""A method as what one engine is given: keys of a config, or flags of a command line.

Every export is audited before it is handed out: what was directions is read again as the engine
reads it, and the engine's answer must have the frequencies, the attention factor and the softmax
scale that were asked for, and admit the length.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from math import ceil
from typing import Any

from ropewalk.configs.attention import Chunked, Sliding
from ropewalk.configs.limits import nothing_to_scale
from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.configs.unknown import Unknown
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.block import RopeBlock
from ropewalk.engines.export.check import NotTheSame, checked
from ropewalk.engines.export.dialect import Dialect, Directions
from ropewalk.engines.export.dialects import DIALECTS
from ropewalk.engines.export.lists import rope_blocks
from ropewalk.engines.export.request import ExportRequest
from ropewalk.engines.patch import is_flat
from ropewalk.methods.from_config import native_encoding, softmax_scale
from ropewalk.methods.spec import NATIVE, Spec, parse_spec


def export_model(
    shape: ModelShape, spec: str, engine: str, *, length: int | None = None
) -> dict[str, Any]:
    """What to give ``engine`` so that it computes ``spec`` over a checkpoint.

    engine  transformers, vllm, sglang or llama.cpp
    length  N, in tokens, to be admitted; by default factor * L0 or the fixed length of the spec,
            else the config's max_position_embeddings

    Returns ``engine``, ``version``, ``method``, ``length``, ``config`` (keys to set in
    config.json; an override flag holds the same), ``remove`` (keys that they replace), ``flags``
    (words), ``command`` (the words quoted for a shell, empty where there are no flags),
    ``checked`` (largest relative differences to what was asked, tokens admitted, and the longest
    prompt that leaves room for what the engine generates) and ``notes``.

    Raises RopewalkError for a bad config, spec, engine or length, and where the engine cannot
    express the method: which part it cannot, and what comes nearest.
    """
    dialect = dialect_of(engine)
    request, blocks = requested(shape, spec, engine, length)
    with about(spec, engine):
        request, directions, differences = first_audited(dialect, request, blocks)
    back = dialect.read_back(directions, request, request.length)
    words = (*dialect.command, *directions.flags) if directions.flags else ()
    replaced = ("rope_scaling",) if "rope_scaling" in request.shape.text else ()
    return {
        "engine": engine,
        "version": back.answer.version,
        "method": spec,
        "length": request.length,
        "config": directions.patch.document,
        "remove": list(replaced if "rope_parameters" in directions.patch.keys else ()),
        "flags": list(directions.flags),
        "command": shlex.join(words),
        "checked": differences,
        "notes": [*back.answer.notes, *_notes(request, directions)],
    }


def dialect_of(engine: str) -> Dialect:
    """Raises RopewalkError for an engine that is none, with the nearest name."""
    if engine in DIALECTS:
        return DIALECTS[engine]
    near = get_close_matches(str(engine), DIALECTS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RopewalkError(f"engine {engine!s:.40}: expected one of {', '.join(DIALECTS)}{hint}")


@contextmanager
def about(spec: str, engine: str) -> Iterator[None]:
    """Says in an error which method and engine it is about."""
    try:
        yield
    except RopewalkError as error:
        raise RopewalkError(f"{spec} on {engine}: {error}") from error


def requested(
    shape: ModelShape, spec: str, engine: str, length: int | None
) -> tuple[ExportRequest, tuple[RopeBlock, ...]]:
    """What is asked for, and the blocks that say it, the likeliest first."""
    parsed = parse_spec(spec)
    nothing = nothing_to_scale(shape)
    if nothing is not None and [part.name for part in parsed.parts] != [NATIVE]:
        with about(spec, engine):
            raise RopewalkError(nothing)
    section = shape.rope()
    tokens = _length(parsed, section) if length is None else length
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 2 <= tokens <= LARGEST_LENGTH:
        raise RopewalkError(f"length={tokens!s:.40}: expected 2 to 2^40 tokens")
    native = native_encoding(section)
    if any(part.length_from_request for part in parsed.parts):
        with about(spec, engine):
            raise RopewalkError(
                "no engine chooses frequencies for each request (policy=at_admission); "
                f"nearest: policy=fixed,length={tokens}"
            )
    encoding = parsed.encoding(section.geometry(), context_length=tokens, native=native)
    if [part.name for part in parsed.parts] == [NATIVE]:
        # Families that scale their queries do so themselves, in every engine.
        encoding = replace(encoding, score_mods=())
    with about(spec, engine):
        blocks = rope_blocks(encoding, tokens)
    request = ExportRequest(
        shape=shape,
        section=section,
        spec=spec,
        encoding=encoding,
        block=blocks[0],
        length=tokens,
        softmax_multiplier=softmax_scale(section) / section.softmax_scale,
    )
    return request, blocks


def _length(spec: Spec, section: RopeSection) -> int:
    """The length that the spec itself states, else the config's."""
    for part in spec.parts:
        arguments = dict(part.arguments)
        stated, factor = arguments.get("length"), arguments.get("factor")
        if isinstance(stated, int):
            return stated
        if isinstance(factor, float) and 1 <= factor <= LARGEST_LENGTH / section.trained_length:
            return max(ceil(factor * section.trained_length), section.trained_length)
    return section.max_position_embeddings


Audited = tuple[ExportRequest, Directions, dict[str, Any]]


def first_audited(
    dialect: Dialect, request: ExportRequest, blocks: tuple[RopeBlock, ...]
) -> Audited:
    """By the first block that the engine computes.

    Raises RopewalkError, of the method's own type, where none is.
    """
    errors: list[RopewalkError] = []
    for block in blocks:
        asked = replace(request, block=block)
        try:
            return (asked, *_audited(dialect, asked))
        except RopewalkError as error:
            errors.append(error)
    raise errors[0]


def _audited(dialect: Dialect, request: ExportRequest) -> tuple[Directions, dict[str, Any]]:
    """The config's own encoding where it is what was asked for, else the block."""
    if dialect.length is not None or request.spec == NATIVE:
        try:
            directions = dialect.unchanged(request)
            return directions, checked(directions, dialect, request)
        except (NotTheSame, RopewalkError):
            pass  # it is not: the block says what is
    _check_follows(dialect, request)
    directions = dialect.write(request)
    try:
        return directions, checked(directions, dialect, request)
    except NotTheSame as difference:
        raise RopewalkError(
            f"{difference} ({dialect.limits(request)}); nearest: rw.extend in transformers, "
            "which computes it, or a method that ropewalk plan lists for this engine"
        ) from difference


def _check_follows(dialect: Dialect, request: ExportRequest) -> None:
    flag = dialect.length
    if flag is not None and request.block.follows_length:
        own = (
            f", or for the config's own lists {flag} {request.length} alone, with which every "
            "request takes the long one"
            if request.section.rope_type == request.block.rope_type == "longrope"
            and dialect.has_lists(request)
            else ""
        )
        raise RopewalkError(
            f"frequencies are decided once, by {flag}, and do not follow the sequence so far; "
            f"nearest: policy=fixed,length={request.length}{own}"
        )


def _notes(request: ExportRequest, directions: Directions) -> list[str]:
    """What a flat rope dict, or flags, do to layers with a window."""
    rope = directions.patch.keys.get("rope_parameters")
    flat = rope is not None and is_flat(rope)
    if not flat and "--rope-scale" not in directions.flags:
        return []
    kinds = request.shape.kinds
    windows = () if isinstance(kinds, Unknown) else kinds
    shorter = [
        kind.attention.width
        for kind in windows
        if isinstance(kind.attention, Sliding | Chunked) and kind.attention.width < request.length
        for _ in kind.layers
    ]
    if not shorter or request.spec == NATIVE:
        return []
    said = f"{len(shorter)} layers see a window of {max(shorter):,} tokens: "
    if not flat:
        return [f"{said}flags may not reach them, or reach them too; it depends on the graph"]
    return [
        f"{said}a flat rope dict turns them as the others, while rw.extend leaves windows within "
        "the trained length as they are"
    ]
