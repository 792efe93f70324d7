"""What ``compare`` chose by itself, in words, and the command for the whole."""

import shlex
from collections.abc import Mapping
from typing import Any

import typer

CHOSEN = ("method", "length", "windows", "dry_run", "as_json")
"""Parameters that a choice states itself, or that do not change what is measured."""


def choice_text(chosen: Mapping[str, Any]) -> str:
    """Of the ``chosen`` of a document."""
    probe, flags = chosen["probe"], chosen["flags"]
    count = {name: flags.count(name) for name in ("--method", "--length")}
    return (
        f"chosen to end within {chosen['within_seconds'] / 60:g} minutes here (a probe: "
        f"{probe['tokens']:,} tokens in {probe['seconds']:.2g} s): {count['--method']} methods at "
        f"{count['--length']} lengths, about {duration(chosen['estimated_seconds'])}"
    )


def whole_command(context: typer.Context, chosen: Mapping[str, Any]) -> str:
    """How to measure all that was left out, as one can type it."""
    return shlex.join([*_typed(context), *chosen["whole"]])


def _typed(context: typer.Context) -> list[str]:
    """The command, and what was typed of it that a choice did not replace."""
    words = context.command_path.split()
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif name not in CHOSEN:
            values = value if isinstance(value, list | tuple) else [value]
            for each in values:
                words += [parameter.opts[0], str(getattr(each, "value", each))]
    return words


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
