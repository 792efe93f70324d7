"""One cell: the words of an export, a server started with them, and what verify says of it."""

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ropewalk as rw
from recipes.served.engines import ENGINES
from recipes.served.models import NotConverted, folder_of, gguf_of
from recipes.served.plan import PLAIN, SHORT_TABLE, Cell
from recipes.served.starting import DoesNotStart, free_port, running
from ropewalk.api.serving import verify_served

LLAMA_CPP = "llama.cpp"
SHORT_ROWS, LONG = 256, 1024
_LISTS = {"short": 1.0, "long": 4.0}


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a server is started with.

    model        the folder or file
    flags        words of the export
    exported     the printed command, with MODEL for the checkpoint
    environment  variables that the export names beside them
    """

    model: Path
    flags: tuple[str, ...]
    exported: str
    environment: tuple[tuple[str, str], ...] = ()


def measured(cell: Cell, engines: Path, out: Path) -> dict[str, Any]:
    """The record of a cell; ``error`` says why there is no verdict."""
    begun = time.monotonic()
    record: dict[str, Any] = {**asdict(cell), "verdict": None, "error": None}
    try:
        start = started_as(cell, engines, out)
        record["exported"] = start.exported
        found = _asked(cell, start, engines, out)
    except (rw.RopewalkError, DoesNotStart, NotConverted) as error:
        record["error"] = f"{type(error).__name__}: {error}" if _is_ours(error) else str(error)
    else:
        record |= _kept(found)
    record["seconds"] = round(time.monotonic() - begun, 1)
    text = json.dumps(record)
    for place in (out / "models", engines):  # a result holds no place of this machine
        text = text.replace(str(place.absolute()), place.name.upper())
    return dict(json.loads(text))


def _is_ours(error: Exception) -> bool:
    return isinstance(error, rw.RopewalkError)


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    """What of the document is a result: whom it names, and how far the others are."""
    asked = next(each for each in found["candidates"] if each["name"] == found["asked"])
    best = found["candidates"][0]
    others = [each for each in found["candidates"] if each is not best]
    return {
        "verdict": found["verdict"],
        "passed": found["passed"],
        "nearest": best["name"],
        "mean": best["mean_difference"],
        "largest": best["largest_difference"],
        "runner_up": others[0]["name"] if others else None,
        "runner_up_mean": others[0]["mean_difference"] if others else None,
        "asked_mean": asked["mean_difference"],
        "departs_at": found["departs_at"],
        "finding": found["finding"] and found["finding"]["id"],
        "tokens": found["length"],
        "trained_length": found["trained_length"],
        "sentence": found["sentence"],
    }


def _asked(cell: Cell, start: Start, engines: Path, out: Path) -> dict[str, Any]:
    with server(cell, start, engines, out) as url:
        return verify_served(
            folder_of(cell.local, out / "models"),
            url,
            engine=cell.engine,
            method=written(cell.asked, cell.local, out),
            length=cell.length,
            seconds=300,
        )


@contextmanager
def server(cell: Cell, start: Start, engines: Path, out: Path) -> Iterator[str]:
    """The URL of the server; llama.cpp's by xllamacpp where it was not built."""
    engine, port = ENGINES[cell.engine], free_port()
    if cell.engine == LLAMA_CPP and not engine.installed(engines):
        from recipes.served.llama_cpp import serving_over

        with serving_over(start.model, start.flags, out / "models") as url:
            yield url
        return
    log = out / "logs" / f"{cell.key}.log"
    words = engine.words(engines, start.model, start.flags, port)
    environment = {**engine.environment(engines), **dict(start.environment)}
    with running(words, port=port, log=log, environment=environment) as url:
        yield url


def started_as(cell: Cell, engines: Path, out: Path) -> Start:
    """What the server of a cell is started with.

    Raises RopewalkError where the engine cannot express the method, NotConverted where llama.cpp's
    converter does not take the model.
    """
    made = out / "models"
    if cell.engine == LLAMA_CPP:
        model = gguf_of(cell.model, made, engines)
    else:
        model = folder_of(cell.model, made)
    if cell.part == "plug-in":
        return _by_plug_in(cell, model, out)
    if cell.served == SHORT_TABLE:
        return _short_table(model)
    served = "none" if cell.served == PLAIN else cell.served
    spec = written(served, cell.local, out)
    length = _length(cell, folder_of(cell.model, made))
    try:
        found = rw.export(str(folder_of(cell.model, made)), spec, cell.engine, length)
    except rw.RopewalkError:
        if cell.engine != LLAMA_CPP:
            raise
        return _new_file(cell, model, spec, length, made)
    return Start(model=model, flags=tuple(found["flags"]), exported=found["command"])


def _length(cell: Cell, folder: Path) -> int:
    """Served: what the method reaches, or four trained lengths."""
    trained: int = rw.inspect(str(folder))["trained_length"]
    return 2 * trained if cell.part == "smollm2" else 4 * trained


def _new_file(cell: Cell, model: Path, spec: str, length: int, made: Path) -> Start:
    """Where no flags say it: a file whose keys or tensors do."""
    new = made / f"{cell.key}.gguf"
    new.unlink(missing_ok=True)
    found = rw.export(str(model), spec, LLAMA_CPP, length, out=new)
    words = shlex.split(found["commands"][LLAMA_CPP])
    return Start(
        model=new,
        flags=tuple(words[3:]),
        exported=f"llama-server -m NEW.gguf {shlex.join(words[3:])}",
    )


def _short_table(model: Path) -> Start:
    """vLLM builds 256 rows for ``dynamic``, whatever it admits."""
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    flags = ("--hf-overrides", json.dumps({"rope_parameters": rope}), "--max-model-len", str(LONG))
    return Start(model=model, flags=flags, exported=f"vllm serve MODEL {shlex.join(flags)}")


def _by_plug_in(cell: Cell, model: Path, out: Path) -> Start:
    """The method by its name, in the rope dict."""
    rope = {
        "rope_type": "ropewalk",
        "spec": written(cell.served, cell.local, out),
        "rope_theta": 10000.0,
        "original_max_position_embeddings": SHORT_ROWS,
    }
    keys = json.dumps({"rope_parameters": rope, "max_position_embeddings": LONG})
    flag, longest, variable = {
        "vllm": ("--hf-overrides", "--max-model-len", "VLLM_PLUGINS"),
        "sglang": ("--json-model-override-args", "--context-length", "SGLANG_PLUGINS"),
    }[cell.engine]
    flags = (flag, keys, longest, str(LONG))
    program = {
        "vllm": "vllm serve MODEL",
        "sglang": "python -m sglang.launch_server --model-path MODEL",
    }[cell.engine]
    return Start(
        model=model,
        flags=flags,
        exported=f"{variable}=ropewalk {program} {shlex.join(flags)}",
        environment=((variable, "ropewalk"),),
    )


def written(spec: str, local: str, out: Path) -> str:
    """The spec with its lists on the disk: divisors that grow from pair to pair."""
    if "{lists}" not in spec:
        return spec
    folder = (out / "models" / "lists").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    pairs = rw.inspect(str(folder_of(local, out / "models")))["rotary_dim"] // 2
    for name, last in _LISTS.items():
        divisors = [1 + (last - 1) * i / (pairs - 1) for i in range(pairs)]
        (folder / f"{name}.json").write_text(json.dumps(divisors))
    return spec.replace("{lists}", str(folder))
