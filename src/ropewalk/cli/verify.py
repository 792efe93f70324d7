"""``ropewalk verify``: does a model compute the same, however its tokens are fed?"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from ropewalk.cli.options import (
    SPEC_HELP,
    Device,
    Dtype,
    DtypeName,
    Json,
    Length,
    Model,
    read_length,
)
from ropewalk.cli.output import print_json, print_table
from ropewalk.cli.progress import bar
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.sources import locate

BROKEN = 1
LONG_SECONDS = 60.0

VERIFY_EXAMPLES = """\b
Examples:
  ropewalk verify ./my-model
  ropewalk verify ./my-model --method dynamic_ntk --method yarn:factor=4 --length 2x
  ropewalk verify ./my-model --stock
"""


def verify(
    model: Model = None,
    *,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="SPEC",
            show_default=False,
            help=f"Repeats. {SPEC_HELP} Without it, the model's own encoding, every method that "
            "needs no more than a factor, and two that depend on the path. An omitted factor is "
            "the length over the trained length.",
        ),
    ] = None,
    length: Length = None,
    stock: Annotated[
        bool, typer.Option("--stock", help="Check the library's own path, without any method.")
    ] = False,
    dtype: Dtype = DtypeName.FLOAT32,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Check that a full pass, chunked prefill, decoding and a padded batch compute the same.

    On pseudo-random tokens, so no tokenizer is needed. LENGTH is that of the sequence; without
    it, 1.25 times the trained length, at least 16 and at most 512 tokens beyond it. A method
    costs about seven passes of that length. Exit status 1 if a promise is broken.
    """
    if stock and method:
        raise RopewalkError("--method with --stock: stock has no methods; drop one of them")
    wanted = None if length is None else read_length(length)
    if model is not None:
        locate(model)  # a mistyped path is answered before the heavy imports
    from ropewalk.api.verifying import verify_checkpoint, verify_stock_checkpoint

    with bar() as progress:
        request: dict[str, Any] = {
            "length": wanted,
            "dtype": dtype.value,
            "device": device,
            "progress": _Clock(progress),
        }
        document = (
            verify_stock_checkpoint(model, **request)
            if stock
            else verify_checkpoint(model, methods=method or [], **request)
        )
    if as_json:
        print_json(document)
    else:
        _print(document)
    if not document["passed"]:
        raise typer.Exit(BROKEN)


class _Clock:
    """A progress that also says, once the first method is measured, how long all will take.

    On standard error, where that is no terminal (there the bar says it) and it is a while.
    """

    def __init__(self, progress: Callable[[str, float], None]) -> None:
        self._progress, self._begun = progress, 0.0
        self._first = ""

    def __call__(self, work: str, share: float) -> None:
        self._progress(work, share)
        if share == 0.0 and not self._first:
            self._first, self._begun = work, time.monotonic()
        elif self._begun and not work.startswith(self._first):
            seconds = (time.monotonic() - self._begun) / share
            if seconds > LONG_SECONDS and not sys.stderr.isatty():
                typer.echo(f"about {seconds / 60:.0f} minutes in all", err=True)
            self._begun = 0.0


def _print(document: Mapping[str, Any]) -> None:
    records = document["records"]
    methods = {
        name: list(group) for name, group in groupby(records, key=lambda each: each["method"])
    }
    checks = [each["check"] for each in next(iter(methods.values()))]
    rows = [(name, *map(_figure, group), _word(group)) for name, group in methods.items()]
    allowed = next(group for group in methods.values() if group[0]["tolerance"] is not None)
    rows.append(("allowed", *(f"{each['tolerance']:.1e}" for each in allowed), ""))
    typer.echo(
        f"{document['model']}: largest difference of a logit from one call alone, over "
        f"{document['length']:,} tokens (trained length {document['trained_length']:,}, "
        f"{document['dtype']})"
    )
    print_table(("method", *checks, ""), rows)
    for line in _remarks(methods):
        typer.echo(line)
    typer.echo(_conclusion(document, methods))


def _figure(record: Mapping[str, Any]) -> str:
    value = record["max_logit_difference"]
    if value is None:
        return "-"
    return f"{value:.1e}" if value else "0"


def _word(group: Sequence[Mapping[str, Any]]) -> str:
    """One word for a method: its failures before anything else."""
    failed = [each["check"] for each in group if each["status"] == "failed"]
    if failed:
        return f"failed: {', '.join(failed)}"
    return next((each["status"] for each in group if each["status"] != "ok"), "ok")


def _remarks(methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """A line for each failure, and one for each method that could not run."""
    told = [
        (name, each)
        for name, group in methods.items()
        for each in (group[:1] if group[0]["status"] == "not run" else group)
        if each["status"] in ("failed", "not run")
    ]
    return [
        f"{name}, not run: {each['sentence']}"
        if each["status"] == "not run"
        else f"{name}, {each['check']}: {each['sentence']}."
        for name, each in told
    ]


def _conclusion(
    document: Mapping[str, Any], methods: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    words = [_word(group) for group in methods.values()]
    broken = sum(word.startswith("failed") for word in words)
    counts = {
        "broken promises": broken,
        "one result, however tokens are fed": words.count("ok"),
        "differ, as declared": words.count("differs, as declared"),
        "not run": words.count("not run"),
    }
    crosses = document["length"] > document["trained_length"]
    scope = "" if crosses else " Nothing beyond the trained length was checked."
    told = "; ".join(f"{what}: {count}" for what, count in counts.items() if count)
    return f"Of {len(words)}: {told}.{scope}"
