"""What exports to vLLM and SGLang share: an override as JSON, and a served length beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.engines.export.flags import override_words
from ropewalk.engines.export.request import (
    ConfigPatch,
    ExportRequest,
    ReadBack,
    Written,
    shorter_lengths,
)

ReadsBack = Callable[[Written, Mapping[str, Any], int, str | None], ReadBack]
"""(what is given, config, length, layer type) -> what the engine makes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedWriter:
    """The command line of one engine.

    overrides    flag of the keys that replace the config's
    length       flag of the served length
    length_keys  config keys from which the engine derives the length that it admits
    read_back    the engine's own reading
    """

    overrides: str
    length: str
    length_keys: tuple[str, ...]
    read_back: ReadsBack

    def write(self, request: ExportRequest, rope: Mapping[str, Any] | None) -> Written:
        """``rope``, or the config's own; lengths only where the derived one would be too short."""
        written = self._written(request.patch(rope), request.length)
        back = self.read_back(written, request.config, request.length, request.section.layer_type)
        if back.admitted is not None and back.admitted >= request.length:
            return written
        lengths = shorter_lengths(request.text, self.length_keys, request.length)
        return self._written(request.patch(rope, **lengths), request.length)

    def _written(self, patch: ConfigPatch, length: int) -> Written:
        words = override_words(self.overrides, patch)
        return Written(patch=patch, flags=(*words, self.length, str(length)))
