"""The command line: ``ropewalk COMMAND``. Every error is one line on standard error.

Nothing heavier than typer is imported before a command runs.
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import ropewalk
from ropewalk.cli.adapt import ADAPT_EXAMPLES, adapt
from ropewalk.cli.audit import AUDIT_EXAMPLES, audit
from ropewalk.cli.bench import add_bench
from ropewalk.cli.compare import COMPARE_EXAMPLES, compare
from ropewalk.cli.export import EXPORT_EXAMPLES, export
from ropewalk.cli.generate import GENERATE_EXAMPLES, generate
from ropewalk.cli.inspect import INSPECT_EXAMPLES, inspect
from ropewalk.cli.lm_eval import LM_EVAL_EXAMPLES, PASSED_THROUGH, lm_eval
from ropewalk.cli.merge import MERGE_EXAMPLES, merge
from ropewalk.cli.plan import PLAN_EXAMPLES, plan
from ropewalk.cli.plot import plot
from ropewalk.cli.report import REPORT_EXAMPLES, report
from ropewalk.cli.search import SEARCH_EXAMPLES, search
from ropewalk.cli.train import TRAIN_EXAMPLES, train
from ropewalk.cli.tune import TUNE_EXAMPLES, tune
from ropewalk.cli.verify import VERIFY_EXAMPLES, verify
from ropewalk.core.errors import RopewalkError

BAD_INPUT = 2
INTERRUPTED = 130
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""How threads of OpenMP wait for one another, by whichever variable a user may have set."""

app = typer.Typer(
    name="ropewalk",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=COMPARE_EXAMPLES)(compare)
app.command(epilog=INSPECT_EXAMPLES)(inspect)
app.command(epilog=AUDIT_EXAMPLES)(audit)
app.command(epilog=PLAN_EXAMPLES)(plan)
app.command(epilog=EXPORT_EXAMPLES)(export)
app.command(epilog=VERIFY_EXAMPLES)(verify)
app.command(epilog=GENERATE_EXAMPLES)(generate)
app.command(epilog=SEARCH_EXAMPLES)(search)
app.command(epilog=ADAPT_EXAMPLES)(adapt)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=REPORT_EXAMPLES)(report)
app.command(epilog=MERGE_EXAMPLES)(merge)
app.command(epilog=TUNE_EXAMPLES)(tune)
app.command("lm-eval", epilog=LM_EVAL_EXAMPLES, context_settings=PASSED_THROUGH)(lm_eval)
app.add_typer(plot, name="plot")
add_bench(app)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"ropewalk {ropewalk.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _ropewalk(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _print_version(wanted=value),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Make transformer contexts longer, and prove that the result is right."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> NoReturn:
    """Entry point of the installed script."""
    yield_waiting_threads()
    sys.exit(main())


def yield_waiting_threads() -> None:
    """Threads that wait give their core away, unless the user chose how they wait.

    Those of torch spin at each barrier, which costs a program beside it a core, and takes the
    cores from themselves. Read when torch is loaded, so it is set before.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (by default this process's) and return its exit status.

    0 done; 1 a check found a failure; 2 bad input, with one line ``error: ...`` on standard
    error; 130 interrupted. Under torchrun, rank 0 does so and the others do what it has them do.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ:
        from ropewalk.cli.ranks import over_ranks

        return over_ranks(lambda ranks: _command(arguments, ranks))
    return _command(arguments, None)


def _command(arguments: Sequence[str] | None, ranks: object) -> int:
    """ranks  that compute with this process; None for it alone"""
    try:
        status = app(arguments, prog_name="ropewalk", standalone_mode=False, obj=ranks)
    except RopewalkError as error:
        return _bad_input(str(error), ranks)
    except typer.TyperException as error:
        return _bad_input(f"{error.format_message()} (see {_help_of(error)})", ranks)
    except OSError as error:
        return _bad_input(_system_message(error), ranks)
    if status == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        typer.echo(
            "interrupted: a run folder keeps its finished cells; "
            "the same command goes on from there",
            err=True,
        )
    return status or 0


def _bad_input(message: str, ranks: object) -> int:
    line = " ".join(message.split())
    typer.echo(f"error: {line}", err=True)
    if ranks is not None:
        from ropewalk.ranks.launching import tell_torchrun

        tell_torchrun(os.environ, line)
    return BAD_INPUT


def _help_of(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'ropewalk'} --help"


def _system_message(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{place}the disk is full; finished cells are kept; "
            "free some space and run the same command again"
        )
    return f"{place}{error.strerror or error}"
