"""Options that several commands share, and how their values are read."""

import re
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ropewalk.core.errors import RopewalkError

SPEC_EXAMPLES = ("none", "linear:factor=4", "yarn:factor=8,beta_fast=16", "yarn:factor=8+log_n")
SPEC_HELP = f"NAME, NAME:KEY=VALUE,KEY=VALUE, or parts joined by '+': {', '.join(SPEC_EXAMPLES)}."
MODEL_HELP = "A transformers folder, a .gguf file, or a hub id"

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help=f"{MODEL_HELP}; without it, the bundled demo model.",
    ),
]
ModelOrConfig = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_OR_CONFIG",
        show_default=False,
        help=f"{MODEL_HELP}, or a config.json.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option("--method", metavar="SPEC", show_default=False, help=f"Method: {SPEC_HELP}"),
]
Length = Annotated[
    str | None,
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="Context length in tokens, or in trained lengths: 4096, 2x, 0.5x.",
    ),
]
LayerType = Annotated[
    str | None,
    typer.Option(
        "--layer-type",
        metavar="T",
        show_default=False,
        help="Layers of this type, where a config has several: full_attention, sliding_attention.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output, nothing else there."),
]


class DtypeName(str, Enum):
    """Names of the dtypes of weights and activations."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"


Dtype = Annotated[DtypeName, typer.Option(help="Of weights and activations.")]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        show_default=False,
        help="cpu, cuda or cuda:N; auto: over all devices, for a model too large for one; without "
        "it, CUDA where there is one.",
    ),
]

Engine = Annotated[
    str | None,
    typer.Option(
        metavar="E",
        show_default=False,
        help="Of --served: vllm, sglang, llama.cpp or openai; without it, as the server says.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Of --served: time of one request, tries included."),
]

ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="serial, or ray[:ADDRESS]: on the workers of a Ray cluster; without an address one is "
        "started on this machine for the run.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        show_default=False,
        help="Of --executor ray: at once; by default one a GPU, or one a CPU.",
    ),
]
RankCount = Annotated[
    int,
    typer.Option(
        "--ranks",
        metavar="N",
        min=1,
        help="Of --executor ray: processes of each worker, which read each sequence together.",
    ),
]

_LENGTH = re.compile(r"[0-9]+|[0-9]+(\.[0-9]+)?x")


def read_length(text: str, option: str = "--length") -> int | str:
    """A number of tokens as int; a multiple of the trained length, like ``2x``, as it stands.

    Raises RopewalkError for anything else and for fewer than 2 tokens.
    """
    if not _LENGTH.fullmatch(text):
        raise RopewalkError(
            f"{option} {text}: expected tokens or a multiple of the trained length, like 4096 or 2x"
        )
    if text.endswith("x"):
        return text
    if int(text) < 2:
        raise RopewalkError(f"{option} {text}: expected at least 2 tokens")
    return int(text)


def require_files(paths: list[Path]) -> None:
    """Raise RopewalkError for the first path that is no file."""
    for path in paths:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise RopewalkError(f"--text {path}: {found}; expected a UTF-8 text file")
