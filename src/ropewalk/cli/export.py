"""``ropewalk export``: a method as flags or config keys of one engine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ropewalk.cli.options import SPEC_HELP, Json, Length, ModelOrConfig, read_length
from ropewalk.cli.output import number, print_json
from ropewalk.cli.progress import bar
from ropewalk.integrations.sources import locate

EXPORT_EXAMPLES = """\b
Examples:
  ropewalk export ./my-model --method yarn:factor=4 --engine vllm
  ropewalk export config.json --method dynamic_ntk:policy=fixed,length=32768 --engine llama.cpp
  ropewalk export ./my-model --method yarn:factor=4 --engine vllm --out ./my-model-128k
  ropewalk export model.gguf --method yarn:factor=4,ramp=paper --engine llama.cpp --out new.gguf
"""


Method = Annotated[
    str,
    typer.Option("--method", metavar="SPEC", show_default=False, help=f"Method: {SPEC_HELP}"),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine", metavar="E", show_default=False, help="transformers, vllm, sglang or llama.cpp."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        show_default=False,
        help="Write a checkpoint folder that states the method (weights linked or copied, "
        "tokenizer, config.json, a model card); for llama.cpp a new .gguf file.",
    ),
]


def export(
    model_or_config: ModelOrConfig,
    *,
    method: Method,
    engine: Engine,
    length: Length = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Print what to give an engine so that it computes a method, audited before it is printed.

    LENGTH is the length to be admitted; without it, what the method's factor or length reaches.
    What is written to DIR is read back and audited before it stands there.
    A method that the engine cannot express is an error that says why and what comes nearest.
    """
    wanted = None if length is None else read_length(length)
    locate(model_or_config)  # a mistyped path is answered before the heavy imports
    document = _exported(model_or_config, method, engine, wanted, out)
    if as_json:
        print_json(document)
    elif out is None:
        _print(document)
    else:
        _print_written(document)


def _exported(
    source: str, method: str, engine: str, length: int | str | None, out: Path | None
) -> dict[str, Any]:
    from ropewalk import api

    if out is None:
        return api.export(source, method, engine, length)
    with bar() as told:
        writing = f"writing {out.name}"
        return api.export(
            source, method, engine, length, out=out, advanced=lambda share: told(writing, share)
        )


def _print(document: Mapping[str, Any]) -> None:
    typer.echo(pasted(document))
    typer.echo("")
    typer.echo(_checked(document))
    for note in document["notes"]:
        typer.echo(f"note: {note}")


def _print_written(document: Mapping[str, Any]) -> None:
    typer.echo(f"{document['out']}: {document['method']} for {number(document['length'])} tokens")
    for name, reason in document.get("engines", {}).items():
        typer.echo(f"  {name}: {'computes it' if reason is None else f'does not: {reason}'}")
    for command in document["commands"].values():
        typer.echo(f"\n{command}")
    found = document["checked"]
    typer.echo(
        f"\nRead back and checked for {document['engine']}: frequencies within "
        f"{found['inv_freq']:.1e}, attention factor within {found['attention_factor']:.1e}, "
        f"softmax scale within {found['softmax_scale_multiplier']:.1e} (relative)."
    )


def pasted(document: Mapping[str, Any]) -> str:
    """What is pasted: a command line, or keys of config.json."""
    if document["command"]:
        return str(document["command"])
    if not document["config"]:
        return "Nothing to set: config.json says it as it is."
    keys = json.dumps(document["config"], indent=2)
    removed = "".join(f"\nRemove {key}." for key in document["remove"])
    return f"In config.json, set\n{keys}{removed}"


def _checked(document: Mapping[str, Any]) -> str:
    found = document["checked"]
    admitted = found["admitted"]
    length = (
        "any length"
        if admitted is None
        else f"{number(admitted)} tokens, prompts of at most {number(found['longest_prompt'])}"
    )
    return (
        f"Checked against {document['engine']} {document['version']} for {document['method']} at "
        f"{number(document['length'])} tokens: frequencies within {found['inv_freq']:.1e}, "
        f"attention factor within {found['attention_factor']:.1e}, softmax scale within "
        f"{found['softmax_scale_multiplier']:.1e} (relative); admits {length}."
    )
