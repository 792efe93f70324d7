"""export: a method as flags or config keys of one engine, or as a checkpoint on the disk."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ropewalk.api.shapes import shape_of
from ropewalk.configs.gguf import config_of, read_header
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP
from ropewalk.engines.export.document import export_model
from ropewalk.engines.export.gguf import gguf_edit
from ropewalk.engines.export.gguf import require_computed as require_computed_by_file
from ropewalk.engines.export.portable import portable_block, require_computed
from ropewalk.integrations.copying import copying
from ropewalk.integrations.folders import require_free, write_folder
from ropewalk.integrations.gguf_files import write_gguf
from ropewalk.integrations.sources import Checkpoint, config_file, fetch, read_config
from ropewalk.reporting.model_card import model_card
from ropewalk.storage.version import code_version

Told = Callable[[str, float], None]
"""What begins, and the share of it that is done."""


def export(
    config: Mapping[str, Any] | str | Path,
    spec: str,
    engine: str,
    length: int | None = None,
    *,
    out: str | Path | None = None,
    told: Told = lambda work, share: None,
) -> dict[str, Any]:
    """What to give an engine so that it computes a method: what ``ropewalk export --json`` prints.

        rw.export(config, "yarn:factor=4", "vllm")["command"]
        rw.export("./model", "yarn:factor=4", "vllm", out="./model-128k")["commands"]

    config  a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line
    out     a new folder with the weights (linked, else copied), the tokenizer and a config.json
            that states the method; for llama.cpp a new .gguf file. It is read back and audited
            before it stands there
    told    of the progress of a file that is copied

    The other arguments, the result and the errors: see
    ``ropewalk.engines.export.document.export_model``; with ``out``, ``portable.portable_block``
    and ``gguf.gguf_edit``.
    """
    if out is None:
        return export_model(shape_of(config), spec, engine, length=length)
    if not isinstance(config, str | Path):
        raise RopewalkError(
            "out with a parsed config: expected a model with weights; give its path"
        )
    checkpoint, place = fetch(config), Path(out).expanduser()
    if engine == LLAMA_CPP:
        return _gguf_file(checkpoint, spec, length, place, told)
    return _folder(checkpoint, spec, engine, length, place)


def _folder(
    checkpoint: Checkpoint, spec: str, engine: str, length: int | None, place: Path
) -> dict[str, Any]:
    require_free(place)
    if checkpoint.gguf_file is not None:
        copying(checkpoint, 0)  # which says what a folder is made of
    shape = shape_of(read_config(config_file(checkpoint)))
    document = portable_block(shape, spec, length=length, engine=engine)
    card = model_card(document, base=checkpoint.name, version=code_version())
    commands = document["commands"]
    placed = {name: text.replace(" MODEL ", f" {place} ") for name, text in commands.items()}

    def check(draft: Path) -> None:
        written = shape_of(read_config(draft / "config.json"))
        require_computed(written, shape, spec, engine, length)

    write_folder(
        place,
        fill=copying(checkpoint, document["length"]),
        check=check,
        patch=document["config"],
        remove=document["remove"],
        card=card,
    )
    return {**document, "commands": placed, "out": str(place)}


def _gguf_file(
    checkpoint: Checkpoint, spec: str, length: int | None, place: Path, told: Told
) -> dict[str, Any]:
    if checkpoint.gguf_file is None:
        raise RopewalkError(
            f"{checkpoint.name}: a new .gguf file is made of a .gguf file; convert the folder with "
            "llama.cpp's convert_hf_to_gguf.py first, then give that file"
        )
    if place.suffix != ".gguf":
        raise RopewalkError(f"--out {place}: expected the name of a new .gguf file")
    source = checkpoint.folder / checkpoint.gguf_file
    header = read_header(source)
    shape = shape_of(config_of(header))
    edit, document = gguf_edit(header, shape, spec, length)

    def check(partial: Path) -> None:
        require_computed_by_file(read_header(partial), shape, spec, document["length"])

    write_gguf(
        source,
        place,
        keys=document["keys"],
        drops=lambda name: edit.replaces(name, header.architecture),
        tensors={f"{name}.weight": values for name, values in edit.tensors.items()},
        check=check,
        advanced=lambda share: told(f"writing {place.name}", share),
    )
    command = f"llama-server -m {place} -c {document['length']}"
    return {**document, "commands": {LLAMA_CPP: command}, "out": str(place)}
