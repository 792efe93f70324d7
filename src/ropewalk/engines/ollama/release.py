"""Ollama 0.32.15: llama.cpp over a file that its own converter wrote.

num_ctx    of a Modelfile or a request, else OLLAMA_CONTEXT_LENGTH, else 4,096, 32,768 or 262,144 by
           the memory of the GPUs (below 23 GiB, below 47, above); never more than the file's length
flags      -c num_ctx times the slots: no option of a Modelfile reaches the rotation

Source: Ollama 0.32.15, server/routes.go (modelOptions, Serve), llm/server.go (NewLlamaServer),
    llm/llama_server.go; LLAMA_CPP_VERSION b10488, whose loader is taken for llama.cpp's.
"""

from dataclasses import replace

from ropewalk.configs.gguf import GGUFHeader
from ropewalk.configs.keys import SLIDING
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.llama_cpp.file import llama_cpp_file
from ropewalk.engines.ollama.converters import NOT_READ, architecture_of, converted
from ropewalk.engines.reading import EngineRaises, Reading

NAME, VERSION = "ollama", "0.32.15"
CONTEXT_LENGTHS = (4_096, 32_768, 262_144)
_SWA = "rope.freq_base_swa"


def ollama(reading: Reading) -> EngineAnswer:
    """What Ollama computes for ``FROM`` a safetensors folder, at num_ctx = served_length."""
    answer = EngineAnswer(
        engine=NAME,
        version=VERSION,
        table_dtype="float32",
        choice="no table: angles computed in the kernel",
        pairing=reading.section.pairing,
    )
    architecture = architecture_of(reading.shape.config)
    if not architecture or architecture in NOT_READ:
        named = architecture or "an architecture that is not stated"
        return replace(answer, notes=(f"its converter of {named} has no rule here",))
    try:
        header = converted(reading.shape.config)
        return ollama_file(_of_layers(header, reading), reading.served_length)
    except EngineRaises as raised:
        return replace(answer, error=str(raised))
    except RopewalkError as refused:
        return replace(answer, notes=(f"no rotation that can be told: {refused}",))


def ollama_file(header: GGUFHeader, num_ctx: int | None = None) -> EngineAnswer:
    """What Ollama computes for ``FROM`` a .gguf file.

    Raises RopewalkError as ``llama_cpp_file`` does.
    """
    if header.fields.get("rope.freq_base") == 0:
        return EngineAnswer(
            engine=NAME,
            version=VERSION,
            table_dtype="float32",
            choice="none",
            pairing="half",
            error="not a rotation: rope.freq_base 0 is written, for no rope_theta stands where the "
            "converter looks",
        )
    longest = header.fields.get("context_length")
    capped = min(num_ctx, longest) if num_ctx and longest else num_ctx
    return replace(llama_cpp_file(header, capped), engine=NAME, version=VERSION)


def _of_layers(header: GGUFHeader, reading: Reading) -> GGUFHeader:
    """The header as the layers of one type are turned by it."""
    if reading.section.layer_type != SLIDING:
        return header
    if _SWA not in header.fields:
        raise RopewalkError("its layers with a window are not answered for")
    scaling = ("rope.scaling.type", "rope.scaling.factor")
    fields = {key: value for key, value in header.fields.items() if key not in scaling}
    fields["rope.freq_base"] = fields[_SWA]
    if width := fields.get("rope.dimension_count_swa"):
        fields |= {"rope.dimension_count": width, "attention.key_length": width}
    return GGUFHeader(architecture=header.architecture, fields=fields, factors={})
