"""``ropewalk verify``: does a model compute the same, however its tokens are fed?"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from ropewalk.cli.options import (
    Device,
    Dtype,
    DtypeName,
    Engine,
    ExecutorName,
    Json,
    Length,
    Model,
    RankCount,
    Timeout,
    Workers,
    read_length,
)
from ropewalk.cli.output import print_json, remark
from ropewalk.cli.progress import bar
from ropewalk.cli.served import verify_served
from ropewalk.cli.verify_options import Methods, Out, Served, Stock
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.sources import locate

BROKEN = 1
STOCK = "stock"
FIGURE_WIDTH = 8
MOST_SHARE = 100
LONG_SECONDS = 60.0

VERIFY_EXAMPLES = """\b
Examples:
  ropewalk verify ./my-model
  ropewalk verify ./my-model --method dynamic_ntk --method yarn:factor=4 --length 2x
  ropewalk verify ./my-model --out runs/verify-my-model
  ropewalk verify ./my-model --stock
  ropewalk verify ./my-model --served http://127.0.0.1:8000 --method yarn:factor=4
"""


def verify(  # noqa: PLR0913 (one parameter an option)
    context: typer.Context,
    model: Model = None,
    *,
    method: Methods = None,
    length: Length = None,
    stock: Stock = False,
    out: Out = None,
    served: Served = None,
    engine: Engine = None,
    timeout: Timeout = 120.0,
    dtype: Dtype = DtypeName.FLOAT32,
    device: Device = None,
    executor: ExecutorName = "serial",
    workers: Workers = None,
    ranks: RankCount = 1,
    as_json: Json = False,
) -> None:
    """Check that a full pass, chunked prefill, decoding and a padded batch compute the same.

    On pseudo-random tokens, so no tokenizer is needed. LENGTH is that of the sequence; without
    it, 1.25 times the trained length, at least 16 and at most 512 tokens beyond it. A method
    costs about seven passes of that length and is shown as soon as it is measured. Exit status 1
    if a promise is broken.
    """
    _refuse(method=method, stock=stock, out=out, served=served, engine=engine)
    wanted = None if length is None else read_length(length)
    if model is not None:
        locate(model)  # a mistyped path is answered before the heavy imports
    request: dict[str, Any] = {"length": wanted, "dtype": dtype.value, "device": device}
    if served is not None:
        asked = {"method": method[0]} if method else {}
        server = {"engine": engine, "seconds": timeout, **asked, **request}
        verify_served(model, served, out=out, as_json=as_json, **server)
        return
    names = (STOCK,) if stock else tuple(method or ())
    on = {"text": executor, "workers": workers, "ranks": ranks}
    request.update(_where(context.obj, on, names))
    document = _measured(model, names, out, request, _Quiet if as_json else _Table)
    if as_json:
        print_json(document)
    else:
        _print_conclusion(document)
    if not document["passed"]:
        raise typer.Exit(BROKEN)


def _where(ranks: object, on: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """On which processes; RopewalkError for the library's own path on more than one.

    on  as ``executor_named`` takes it
    """
    from ropewalk.cluster.table import executor_named

    chosen = {"executor": executor_named(**on), "ranks": ranks}
    if names != (STOCK,):
        return chosen
    if ranks is not None or on["text"] != "serial":
        raise RopewalkError(
            "--stock on several processes: the library's own path runs on one; drop --stock, or "
            "--executor and torchrun"
        )
    return {}


def _refuse(
    *,
    method: list[str] | None,
    stock: bool,
    out: Path | None,
    served: str | None,
    engine: str | None,
) -> None:
    """Raise RopewalkError for options that do not go together."""
    if served is not None and stock:
        raise RopewalkError("--stock with --served: a server has its own path; drop one of them")
    if served is not None and len(method or ()) > 1:
        raise RopewalkError("--method twice with --served: a server computes one method; drop one")
    if served is None and engine is not None:
        raise RopewalkError(f"--engine {engine} without --served: expected the URL of a server")
    if stock and method:
        raise RopewalkError("--method with --stock: stock has no methods; drop one of them")
    if stock and out:
        raise RopewalkError("--out with --stock: stock is one method, kept nowhere; drop --out")


def _measured(
    model: str | None,
    names: tuple[str, ...],
    out: Path | None,
    request: Mapping[str, Any],
    listener: "type[_Quiet]",
) -> Mapping[str, Any]:
    """The document of the methods named (none: the default ones), or of ``STOCK`` alone."""
    from ropewalk.api.verification import verify_checkpoint, verify_stock_checkpoint
    from ropewalk.verification.subject import DEFAULT_SPECS

    methods = names or tuple(DEFAULT_SPECS)
    with bar() as progress:
        told = listener(_Clock(progress), methods)
        if methods == (STOCK,):
            return verify_stock_checkpoint(model, listener=told, **request)
        return verify_checkpoint(model, methods=methods, out=out, listener=told, **request)


class _Clock:
    """Says, once the first method is measured, how long all will take.

    On standard error, where that is no terminal (there the bar says it) and it is a while.
    """

    def __init__(self, progress: Callable[[str, float], None]) -> None:
        self._progress, self._begun = progress, 0.0
        self._first = ""

    def working(self, work: str, share: float) -> None:
        self._progress(work, share)
        if share == 0.0 and not self._first:
            self._first, self._begun = work, time.monotonic()
        elif self._begun and not work.startswith(self._first):
            seconds = (time.monotonic() - self._begun) / share
            if seconds > LONG_SECONDS and not sys.stderr.isatty():
                remark(f"about {seconds / 60:.0f} min in all")
            self._begun = 0.0


class _Quiet:
    """A listener that prints nothing."""

    def __init__(self, clock: _Clock, methods: Sequence[str]) -> None:
        self.working = clock.working
        self._width = max(map(len, (*methods, "method")))

    def begun(self, document: Mapping[str, Any]) -> None:
        return None

    def finished(self, records: Sequence[Mapping[str, Any]]) -> None:
        return None


class _Table(_Quiet):
    """A listener that prints the records of each method as they come: a run may take hours."""

    def __init__(self, clock: _Clock, methods: Sequence[str]) -> None:
        super().__init__(clock, methods)
        self._headed = False

    def begun(self, document: Mapping[str, Any]) -> None:
        typer.echo(
            f"{document['model']}: largest difference of a logit from one call alone, over "
            f"{document['length']:,} tokens (trained length {document['trained_length']:,}, "
            f"{document['dtype']}).\n"
            "rounding: of a call whose embeddings are one rounding away; share: of what is allowed."
        )

    def finished(self, records: Sequence[Mapping[str, Any]]) -> None:
        if not self._headed:
            checks = (each["check"] for each in records)
            self._line("method", [*checks, "rounding", "share"], "")
            self._headed = True
        figures = [*(each["max_logit_difference"] for each in records), records[0]["rounding"]]
        self._line(records[0]["method"], [*map(_figure, figures), _share(records)], _word(records))
        for line in _remarks(records):
            typer.echo(f"  {line}")

    def _line(self, method: str, figures: Iterable[str], word: str) -> None:
        cells = "  ".join(f"{each:>{FIGURE_WIDTH}}" for each in figures)
        typer.echo(f"{method:<{self._width}}  {cells}  {word}".rstrip())


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if value else "0"


def _share(records: Sequence[Mapping[str, Any]]) -> str:
    """The largest share of what is allowed."""
    if any(each["tolerance"] is None for each in records):
        return "-"
    share = max(each["max_logit_difference"] / each["tolerance"] for each in records)
    return f"{share:.0%}" if share < MOST_SHARE else f">{MOST_SHARE:.0%}"


def _word(group: Sequence[Mapping[str, Any]]) -> str:
    """One word for a method: its failures before anything else."""
    failed = [each["check"] for each in group if each["status"] == "failed"]
    if failed:
        return f"failed: {', '.join(failed)}"
    return next((each["status"] for each in group if each["status"] != "ok"), "ok")


def _remarks(group: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each failure of a method, or why it could not run."""
    if group[0]["status"] == "not run":
        return [group[0]["sentence"]]
    return [
        f"{each['method']}, {each['check']}: {each['sentence']}."
        for each in group
        if each["status"] == "failed"
    ]


def _print_conclusion(document: Mapping[str, Any]) -> None:
    grouped = groupby(document["records"], key=lambda each: each["method"])
    words = [_word(list(group)) for _, group in grouped]
    counts = {
        "broken promises": sum(word.startswith("failed") for word in words),
        "one result, however tokens are fed": words.count("ok"),
        "differ, as declared": words.count("differs, as declared"),
        "not run": words.count("not run"),
    }
    crosses = document["length"] > document["trained_length"]
    scope = "" if crosses else " Nothing beyond the trained length was checked."
    told = "; ".join(f"{what}: {count}" for what, count in counts.items() if count)
    typer.echo(f"Of {len(words)}: {told}.{scope}")
