"""export: a method as flags or config keys of one engine, or as a checkpoint on the disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP
from ropewalk.engines.export.document import export_model
from ropewalk.engines.export.flags_over_file import export_over_file
from ropewalk.integrations.loading import gguf_header
from ropewalk.integrations.sources import fetch
from ropewalk.opening.shapes import Config, shape_of, tokens_of
from ropewalk.shipping.folder import ship_folder
from ropewalk.shipping.gguf_file import ship_gguf


def export(
    config: Config,
    spec: str,
    engine: str,
    length: int | str | None = None,
    *,
    out: str | Path | None = None,
    advanced: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """What to give an engine so that it computes a method: what ``ropewalk export --json`` prints.

        rw.export(config, "yarn:factor=4", "vllm")["command"]
        rw.export("./model", "yarn:factor=4", "vllm", out="./model-128k")["commands"]

    config    as ``rw.inspect`` takes it
    length    tokens, or trained lengths like ``"4x"``
    out       a new folder with the weights (linked, else copied), the tokenizer and a config.json
              that states the method; for llama.cpp a new .gguf file. It is read back and audited
              before it stands there
    advanced  told the share of a new .gguf file that is written

    The other arguments, the result and the errors: see
    ``ropewalk.engines.export.document.export_model``; with ``out``, ``ropewalk.shipping``.
    """
    tokens = tokens_of(length, config)
    if out is None:
        header = gguf_header(config) if isinstance(config, str | Path) else None
        if header is None:
            return export_model(shape_of(config), spec, engine, length=tokens)
        return export_over_file(header, shape_of(config), spec, engine, length=tokens)
    if not isinstance(config, str | Path):
        raise RopewalkError(
            "out with a parsed config: expected a model with weights; give its path"
        )
    place, checkpoint = Path(out).expanduser(), fetch(config)
    if engine == LLAMA_CPP:
        return ship_gguf(
            checkpoint, spec, length=tokens, place=place, read=shape_of, advanced=advanced
        )
    return ship_folder(checkpoint, spec, engine, length=tokens, place=place, read=shape_of)
