"""``ropewalk plan``: which methods reach a length, the memory of the key cache, and flags."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ropewalk.cli.export import pasted
from ropewalk.cli.lengths import tokens_of
from ropewalk.cli.options import Json, ModelOrConfig, read_length
from ropewalk.cli.output import number, print_json, print_table
from ropewalk.integrations.sources import locate

PLAN_EXAMPLES = """\b
Examples:
  ropewalk plan ./my-model --length 131072
  ropewalk plan config.json --length 4x --batch 8 --dtype fp8
"""


def plan(
    model_or_config: ModelOrConfig,
    *,
    length: Annotated[
        str,
        typer.Option(
            "--length",
            metavar="N",
            show_default=False,
            help="Context length in tokens, or in trained lengths: 4096, 2x.",
        ),
    ],
    batch: Annotated[
        int, typer.Option("--batch", metavar="B", min=1, help="Sequences in the key cache.")
    ] = 1,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype", metavar="T", help="Of cached numbers: bf16, fp16, fp32, fp8, int8."
        ),
    ] = "bf16",
    as_json: Json = False,
) -> None:
    """Say which methods and parameters reach a length, at which price, and how to serve it.

    Reach is what was published of each method; figures of the demo model stand beside it. Reads
    the config alone.
    """
    wanted = read_length(length)
    locate(model_or_config)  # a mistyped path is answered before the heavy imports
    from ropewalk import api
    from ropewalk.integrations.loading import load_config

    config = load_config(model_or_config)
    document = api.plan(config, tokens_of(wanted, config), batch, dtype)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    typer.echo(document["summary"])
    if document["needed"]:
        _print_methods(document)
    typer.echo(f"\n{_memory(document['kv_cache'])}")
    served = document["recommended"]["serve"]
    for row in document["methods"]:
        if served is not None and row["served"] == served:
            _print_engines(row)
            return
    if document["needed"]:
        typer.echo("\nNo engine expresses a method that reaches this length; rw.extend does.")


def _print_methods(document: Mapping[str, Any]) -> None:
    header = ("method", "status", "untuned to", "tuned to", "1x, 8x on the demo model")
    print_table(header, [_method_row(row) for row in document["methods"]])
    for row in document["methods"]:
        if row["status"] != "out of reach":
            typer.echo(f"{row['name']}: {row['reason']}. Short texts: {row['short_context']}.")
            trained = "" if row["training"] == "none" else f" Training: {row['training']}."
            typer.echo(f"  {row['source']}.{trained}")


def _method_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    measured = row["measured"]
    nats = measured["nats_above_trained"] if measured else None
    return (
        row["method"] or row["name"],
        row["status"],
        "-" if row["reaches_untuned"] is None else number(row["reaches_untuned"]),
        "-" if row["reaches_tuned"] is None else number(row["reaches_tuned"]),
        f"+{nats['1']:.2f}, +{nats['8']:.2f} nats" if nats else "-",
    )


def _memory(memory: Mapping[str, Any]) -> str:
    asked = f"{memory['batch']} x {number(memory['tokens'])} tokens in {memory['dtype']}"
    if memory["bytes"] is None:
        return f"Key cache of {asked}: unknown ({memory['reason']})."
    kinds = ", ".join(
        f"{row['layers']} {row['kind']}" + (f" of {number(row['tokens'])}" * (row["tokens"] > 0))
        for row in memory["layers"]
    )
    return (
        f"Key cache of {asked}: {memory['bytes'] / 2**30:,.2f} GiB, "
        f"{number(memory['bytes_per_token'])} bytes for one more token (layers: {kinds})."
    )


def _print_engines(row: Mapping[str, Any]) -> None:
    typer.echo(f"\nTo serve it with {row['served']}:")
    for engine, found in row["engines"].items():
        text = f"not expressed: {found['error']}" if "error" in found else pasted(found)
        typer.echo(f"\n# {engine}\n{text}")
