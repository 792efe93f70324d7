"""``ropewalk plan``: which methods reach a length, the memory of the key cache, and flags."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from ropewalk.cli.export import pasted
from ropewalk.cli.options import Json, ModelOrConfig, read_length
from ropewalk.cli.output import number, print_json, print_positions, print_table
from ropewalk.cli.plan_options import Batch, CacheDtype, Length, Memory, TrainedLength
from ropewalk.integrations.sources import locate

PLAN_EXAMPLES = """\b
Examples:
  ropewalk plan ./my-model --length 131072
  ropewalk plan config.json --length 4x --batch 8 --dtype fp8
  ropewalk plan ./qwen3-30b --length 131072 --trained-length 32768 --memory 80GB
"""


def plan(
    model_or_config: ModelOrConfig,
    *,
    length: Length,
    trained_length: TrainedLength = None,
    batch: Batch = 1,
    dtype: CacheDtype = "bf16",
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Say which methods and parameters reach a length, at which price, and how to serve it.

    Reach is what was published of each method; figures of the demo model stand beside it. Reads
    the config, and with --memory the headers of the weights.
    """
    wanted = read_length(length)
    locate(model_or_config)  # a mistyped path is answered before the heavy imports
    from ropewalk import api

    document = api.plan(
        model_or_config, wanted, batch, dtype, trained_length=trained_length, memory=memory
    )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    typer.echo(document["summary"])
    print_positions(document["positions"])
    for line in (*_lengths(document), *_prices(document), *_base(document["base"])):
        typer.echo(line)
    if document["needed"]:
        _print_methods(document)
    for line in (*_memory(document["kv_cache"]), *_fitting(document["memory"])):
        typer.echo(line)
    served = document["recommended"]["serve"]
    for row in document["methods"]:
        if served is not None and row["served"] == served:
            _print_engines(row["served"], row["engines"])
            return
    nearest = document["nearest"]
    if nearest is not None:
        typer.echo(f"\nNo engine expresses a method that reaches this length. {nearest['caveat']}:")
        _print_engines(nearest["method"], nearest["engines"])
    elif document["needed"]:
        typer.echo("\nNo engine expresses a method that reaches this length; rw.extend does.")


def _lengths(document: Mapping[str, Any]) -> Iterator[str]:
    """The three lengths by name, and what else decides."""
    if not document["methods"]:
        return
    before, tuned = document["pretrained_length"], document["reach"]
    stated = "not stated" if before is None else f"{number(before)}"
    asked = number(document["length"])
    yield f"Tokens: pretrained at {stated}, tuned to {number(tuned)}, asked for {asked}."
    if document["needed"]:
        yield (
            f"Smallest factor that reaches: {number(document['smallest_factor'])} x "
            f"{number(document['trained_length'])}. A larger one costs more and gains nothing."
        )


def _prices(document: Mapping[str, Any]) -> Iterator[str]:
    """What short texts pay, before anybody serves it."""
    if not document["needed"]:
        return
    for key, where in (("extend", "rw.extend"), ("serve", "an engine")):
        method, price = document["recommended"][key], (document["short_context"] or {}).get(key)
        if method is None or price is None:
            continue
        nats = price["nats_on_the_demo_model"]
        measured = "" if nats is None else f" ({_above(nats)} nats on the demo model)"
        yield f"Recommended in {where}{_before(document, method)}: {method}"
        yield f"  short texts: {price['cost']}{measured}"
    refused = [row for row in document["methods"] if row["extend"] and row["status"] == "untuned"]
    if refused:
        yield f"Not in rw.extend: {', '.join(r['name'] for r in refused)} ({refused[0]['extend']})."


def _before(document: Mapping[str, Any], method: str) -> str:
    """What has to be done before a method is used; nothing for one that needs no training."""
    for row in document["methods"]:
        if method in (row["method"], row["served"]) and row["status"] == "fine-tuning":
            untuned = row["reaches_untuned"]
            known = "" if untuned is None else f" (without it up to {number(untuned)})"
            return f", after fine-tuning{known}"
    return ""


def _base(base: Mapping[str, Any] | None) -> Iterator[str]:
    if base is None:
        return
    meets = base["rope_theta"] >= base["lower_bound"]
    bound = number(float(f"{base['lower_bound']:.3g}"))
    line = (
        f"Base {number(base['rope_theta'])}: {'above' if meets else 'below'} the published lower "
        f"bound of {bound} for this length"
    )
    if base["holds_to"] is not None:
        line += f"; as it is, similar tokens are told apart up to {number(base['holds_to'])} tokens"
    yield f"{line} (arXiv:2405.14591)."


def _print_methods(document: Mapping[str, Any]) -> None:
    header = ("method", "status", "reach untuned", "reach tuned", "nats at 1x", "at 8x")
    print_table(header, [_method_row(row) for row in document["methods"]])
    for row in document["methods"]:
        if row["status"] != "out of reach":
            typer.echo(row["method"] or row["name"])
            typer.echo(f"  {row['reason']}. Short texts: {row['short_context']}.")
            trained = "" if row["training"] == "none" else f" Training: {row['training']}."
            typer.echo(f"  {row['source']}.{trained}")


def _method_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    measured = row["measured"]
    nats = measured["nats_above_trained"] if measured else None
    return (
        row["name"],
        row["status"],
        "-" if row["reaches_untuned"] is None else number(row["reaches_untuned"]),
        "-" if row["reaches_tuned"] is None else number(row["reaches_tuned"]),
        _above(nats["1"]) if nats else "-",
        _above(nats["8"]) if nats else "-",
    )


def _memory(memory: Mapping[str, Any]) -> Iterator[str]:
    asked = f"{memory['batch']} x {number(memory['tokens'])} tokens in {memory['dtype']}"
    if memory["bytes"] is None:
        yield f"\nKey cache of {asked}: unknown ({memory['reason']})."
        return
    yield (
        f"\nKey cache of {asked}: {_gib(memory['bytes'])}, "
        f"{number(memory['bytes_per_token'])} bytes for one more token."
    )
    for row in memory["layers"]:
        kept = f" of {number(row['tokens'])} tokens" if row["tokens"] else ""
        yield f"  {row['layers']} {row['kind']}{kept}: {_gib(row['bytes'])}"
    more = {name: b for name, b in memory["blocks"].items() if b["bytes"] > memory["bytes"]}
    for engine, blocks in more.items():
        yield f"  {engine}, in blocks of {blocks['block']} tokens: {_gib(blocks['bytes'])}"


def _fitting(fitting: Mapping[str, Any] | None) -> Iterator[str]:
    if fitting is None:
        return
    weights = fitting["weights"]
    beside = "weights not counted" if weights is None else f"beside {_gib(weights)} of weights"
    start = f"In {_gib(fitting['memory'])}, {beside}: "
    if "reason" in fitting:
        yield f"{start}unknown ({fitting['reason']})."
    elif fitting["longest"] is None:
        yield f"{start}the cache does not grow beyond it, at any length."
    elif fitting["longest"] == 0:
        yield f"{start}not even 2 tokens fit."
    else:
        yield f"{start}the longest context that fits is {number(fitting['longest'])} tokens."


def _above(nats: float) -> str:
    """With a sign, and without one of its own for what rounds to nothing."""
    return f"{round(nats, 2) + 0.0:+.2f}"


def _gib(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"


def _print_engines(spec: str, engines: Mapping[str, Mapping[str, Any]]) -> None:
    typer.echo(f"\nTo serve it with {spec}:")
    for engine, found in engines.items():
        typer.echo(f"\n# {engine}\n{_words(found)}")


def _words(found: Mapping[str, Any]) -> str:
    """What to paste for one engine; a sentence where there is nothing."""
    if "error" in found:
        return f"not expressed: {found['error']}"
    if not (found["config"] or found["remove"] or found["command"]):
        return "as it is: no key and no flag"
    return pasted(found)
