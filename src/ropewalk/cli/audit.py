"""``ropewalk audit``: what each engine computes for a config, and where they differ."""

from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from textwrap import fill
from typing import Annotated, Any

import typer

from ropewalk.cli.options import Json, LayerType, Length, ModelOrConfig, read_length
from ropewalk.cli.output import number, print_json, print_table
from ropewalk.integrations.sources import locate

ERRORS_FOUND = 1
WIDEST = 100
_SEVERITIES = ("error", "warning", "info")
SAME = 1e-4

AUDIT_EXAMPLES = """\b
Examples:
  ropewalk audit ./my-model
  ropewalk audit config.json --length 131072 --strict
  ropewalk audit model.gguf --against config.json
"""


def audit(
    model_or_config: ModelOrConfig,
    *,
    length: Length = None,
    layer_type: LayerType = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="CONFIG",
            show_default=False,
            help="The config.json that a .gguf file was converted from: show what was lost.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 1 if a finding is an error.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what transformers, vLLM, SGLang and llama.cpp will compute, and what to write instead.

    Below them Ollama and MLX-LM, whose findings come last and do not count for --strict.

    LENGTH is the length served: vLLM --max-model-len, SGLang --context-length, llama.cpp -c.
    Without it, what each engine takes by default. Reads the config alone; runs no engine.
    """
    wanted = None if length is None else read_length(length)
    locate(model_or_config)  # a mistyped path is answered before the heavy imports
    from ropewalk import api

    document = api.audit(model_or_config, wanted, layer_type, against=against)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if strict and any(finding["severity"] == "error" for finding in document["findings"]):
        raise typer.Exit(ERRORS_FOUND)


def _print(document: Mapping[str, Any]) -> None:
    engines, readers = document["engines"], document["readers"]
    found = document["findings"]
    theirs = [finding for reader in readers.values() for finding in reader["findings"]]
    header = ("engine", "release", "frequencies", "on cos, sin", "on softmax", "rows", "admits")
    print_table(header, [_row(name, each) for name, each in (engines | readers).items()])
    if "reason" in document:
        typer.echo(f"nothing rotates: {document['reason']}\n")
    for name, engine in engines.items():
        if engine["error"] is not None:
            typer.echo(f"{name} fails: {engine['error']}\n")
    for finding in (*found, *theirs):
        _print_finding(finding)
    typer.echo(f"findings: {_counts(found)}; of {' and '.join(readers)}: {_counts(theirs)}")


def _counts(found: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {sum(f['severity'] == name for f in found)}" for name in _SEVERITIES)


def _print_finding(finding: Mapping[str, Any]) -> None:
    typer.echo(f"{finding['severity']}  {finding['id']}  ({', '.join(finding['engines'])})")
    width = min(get_terminal_size((WIDEST, 24)).columns, WIDEST)
    for text, first in ((finding["message"], "    "), (finding["remedy"], " -> ")):
        typer.echo(fill(text, width, initial_indent=first, subsequent_indent="    "))
    typer.echo("")


def _row(name: str, engine: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        engine["version"],
        _frequencies(engine),
        _factor(engine["attention_factor"]),
        _factor(engine["softmax_scale_multiplier"]),
        _rows(engine["table_rows"]),
        "-" if engine["max_length"] is None else number(engine["max_length"]),
    )


def _frequencies(engine: Mapping[str, Any]) -> str:
    """How far the frequencies are from those of the first engine that has any."""
    difference = engine["inv_freq_difference"]
    if difference is None:
        return "-"
    return "same" if difference < SAME else f"up to {100 * difference:.3g} % off"


def _factor(value: float | None) -> str:
    return "-" if value is None else f"x {value:.5g}"


def _rows(rows: int | Mapping[str, int] | None) -> str:
    if rows is None:
        return "no table"
    if isinstance(rows, Mapping):
        return " + ".join(number(count) for count in rows.values())
    return number(rows)
