"""Flags over a .gguf file as it lies there, whose tensors stay whatever the flags say."""

from typing import Any

from ropewalk.configs.gguf import GGUFHeader
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP
from ropewalk.engines.export.document import about, export_model
from ropewalk.engines.llama_cpp.flags import SCALING_FLAGS


def export_over_file(
    header: GGUFHeader, shape: ModelShape, spec: str, engine: str, *, length: int | None = None
) -> dict[str, Any]:
    """As ``export_model``.

    shape  the same header in the keys of a config

    Raises RopewalkError as ``export_model``, and where llama.cpp's flags would stack with
    divisors that the file holds.
    """
    document = export_model(shape, spec, engine, length=length)
    stacking = [flag for flag in SCALING_FLAGS if flag in document["flags"]]
    if engine == LLAMA_CPP and header.factors and stacking:
        held = " and ".join(f"{name}.weight" for name in header.factors)
        with about(spec, engine):
            raise RopewalkError(
                f"the file holds {held}, whose divisors stay, and {stacking[0]} stacks with them: "
                "expected a file without; write a new one, where the method takes their place: "
                "--out NEW.gguf"
            )
    return document
