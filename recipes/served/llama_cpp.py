"""llama.cpp's own server inside this process, started as the words of an export say.

``xllamacpp`` embeds the server that ``llama-server`` is. It takes no ``--override-kv``: those keys
are written into the file instead, which the loader cannot tell apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import xllamacpp

from recipes.served.demo_gguf import write_demo
from ropewalk.integrations.gguf_files import write_gguf

_TYPES = xllamacpp.llama_rope_scaling_type
_SCALING = {
    "none": _TYPES.LLAMA_ROPE_SCALING_TYPE_NONE,
    "linear": _TYPES.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    "yarn": _TYPES.LLAMA_ROPE_SCALING_TYPE_YARN,
}
_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "-c": ("n_ctx", int),
        "--rope-scaling": ("rope_scaling_type", _SCALING.__getitem__),
        "--rope-scale": ("rope_freq_scale", lambda word: 1 / float(word)),
        "--rope-freq-base": ("rope_freq_base", float),
        "--yarn-orig-ctx": ("yarn_orig_ctx", int),
        "--yarn-beta-fast": ("yarn_beta_fast", float),
        "--yarn-beta-slow": ("yarn_beta_slow", float),
    }
)
_OVERRIDE = "--override-kv"
_KINDS: Mapping[str, Callable[[str], Any]] = MappingProxyType({"int": int, "float": float})


@contextmanager
def serving_demo(flags: Sequence[str], folder: Path) -> Iterator[str]:
    """The URL of a server of the demo model under the flags of a ``llama-server`` command."""
    with serving_over(write_demo(folder / "demo.gguf"), flags, folder) as url:
        yield url


@contextmanager
def serving_over(file: Path, flags: Sequence[str], folder: Path) -> Iterator[str]:
    """The same of any file: what is overridden is written into a new one below ``folder``."""
    words = list(zip(flags[::2], flags[1::2], strict=True))
    keys = dict(_overridden(word) for flag, word in words if flag == _OVERRIDE)
    if keys:
        source, file = file, folder / f"{file.stem}.overridden.gguf"
        file.unlink(missing_ok=True)
        nothing: Mapping[str, tuple[float, ...]] = {}
        write_gguf(
            source,
            file,
            keys=keys,
            drops=lambda name: False,
            tensors=nothing,
            check=lambda written: None,
        )
    with serving(file, [each for pair in words if pair[0] != _OVERRIDE for each in pair]) as url:
        yield url


def _overridden(word: str) -> tuple[str, Any]:
    """``KEY=TYPE:VALUE``."""
    key, _, value = word.partition("=")
    kind, _, text = value.partition(":")
    return key, _KINDS[kind](text)


@contextmanager
def serving(file: Path, flags: Sequence[str]) -> Iterator[str]:
    """The URL of a server of a file under the flags of a ``llama-server`` command."""
    parameters = xllamacpp.CommonParams()
    for flag, word in zip(flags[::2], flags[1::2], strict=True):
        name, read = _FIELDS[flag]
        setattr(parameters, name, read(word))
    parameters.model.path = str(file)
    parameters.n_parallel, parameters.port, parameters.warmup = 1, 0, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(parameters)
    try:
        yield server.listening_address
    finally:
        del server
