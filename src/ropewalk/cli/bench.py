"""``ropewalk bench``: the benchmarks of a clone. They are no part of the installed package."""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import typer

from ropewalk.core.errors import RopewalkError

CLONE = Path(__file__).parents[3]
BENCH_HELP = "Speed and memory, as ratios against a peer or a limit measured in the same run."
_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_bench(app: typer.Typer, clone: Path = CLONE) -> None:
    """The commands of ``benchmarks/`` in a clone; without one, a command that says where it is.

    Found by its place: other packages of that name may be installed.
    """
    found = PathFinder.find_spec("benchmarks", [str(clone)])
    if found is None or found.loader is None:
        app.command("bench", help=BENCH_HELP, context_settings=_ANYTHING)(_tell_where_it_is)
        return
    if "benchmarks" not in sys.modules:
        sys.modules["benchmarks"] = module_from_spec(found)
        found.loader.exec_module(sys.modules["benchmarks"])
    app.add_typer(import_module("benchmarks.commands").bench, name="bench")


def _tell_where_it_is() -> None:
    raise RopewalkError(
        "ropewalk bench: the installed package has no benchmarks; expected a clone of the "
        "repository, installed with pip install -e . in its folder"
    )
