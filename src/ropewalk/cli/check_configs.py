"""Several config.json in one call, for a hook or a workflow of another repository.

    python -m ropewalk.cli.check_configs config.json models/*/config.json

Errors of ``ropewalk audit`` and what to write instead, a line or two each; exit status 1 if there
is one, 2 for a file that cannot be read. A JSON file that states no ``model_type`` is passed over.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from ropewalk.core.errors import RopewalkError

FOUND, BAD_INPUT = 1, 2


def main(words: Sequence[str] | None = None) -> int:
    """The exit status; ``--length N`` among the words is the length served."""
    paths = list(sys.argv[1:] if words is None else words)
    try:
        length = _length(paths)
        errors = sum(_errors(path, length) for path in paths)
    except RopewalkError as error:
        typer.echo(f"error: {error}", err=True)
        return BAD_INPUT
    return FOUND if errors else 0


def _length(words: list[str]) -> int | None:
    """Takes ``--length N`` out of the words."""
    if "--length" not in words:
        return None
    place = words.index("--length")
    value = words[place + 1] if place + 1 < len(words) else ""
    del words[place : place + 2]
    if not value.isdecimal():
        raise RopewalkError(f"--length {value}: expected tokens, like 131072")
    return int(value)


def _errors(path: str, length: int | None) -> int:
    """Prints the errors of one file; how many there are."""
    from ropewalk import api
    from ropewalk.integrations.loading import load_config

    config = load_config(path)
    if "model_type" not in config:
        return 0
    try:
        found = api.audit(config, length)["findings"]
    except RopewalkError as error:
        raise RopewalkError(f"{path}: {error}") from error
    errors = [each for each in found if each["severity"] == "error"]
    for each in errors:
        typer.echo(_told(path, each))
    return len(errors)


def _told(path: str, finding: Mapping[str, Any]) -> str:
    engines = ", ".join(finding["engines"])
    return f"{path}: {engines}: {finding['message']} [{finding['id']}]\n  -> {finding['remedy']}"


if __name__ == "__main__":
    raise SystemExit(main())
