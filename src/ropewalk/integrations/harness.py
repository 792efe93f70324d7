"""``lm-eval`` with the model ``ropewalk`` and our task folder; everything else is passed through.

    the model    registered under its name, and taken where no other is named
    the tasks    beside the harness' own and those of ``--include_path``
    --use_cache  its answers are kept under the model's arguments: the harness itself keeps them by
                 request alone, so that a second method would be given the first one's answers

Source: lm-evaluation-harness 0.4.13, ``lm_eval.__main__.cli_evaluate``.
"""

import hashlib
import json
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra

PROGRAM = "lm-eval"
READING = ("lm_eval._cli", "lm_eval.config", "lm_eval.api.registry")
"""Modules of the harness that read what is asked for."""


def lm_eval(arguments: Sequence[str], tasks: Path) -> None:
    """Run one command line of the harness, with a folder of task files beside its own.

    Raises RopewalkError without the extra, and SystemExit as the harness does.
    """
    require_extra("lm-eval", "lm_eval", purpose="ropewalk lm-eval")
    import lm_eval.models  # noqa: F401 (fills the registry, which an entry of ours would keep from it)
    from lm_eval._cli import HarnessCLI
    from lm_eval.api.registry import model_registry
    from lm_eval.utils import setup_logging

    from ropewalk.integrations.lm_eval import NAME, RopewalkLM

    if NAME not in model_registry:
        model_registry.register(NAME, target=RopewalkLM)
    setup_logging()
    harness = HarnessCLI()
    args = _parsed(harness, arguments)
    with _refusals():
        _complete(args, NAME, tasks)
        harness.execute(args)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the harness refuses where it reads what is asked for, as bad input; a failure later is
    raised as it is.
    """
    try:
        yield
    except ValueError as error:
        place = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
        if isinstance(error, RopewalkError) or not place[-1].startswith(READING):
            raise
        raise RopewalkError(
            f"lm-eval: {error}; see `ropewalk lm-eval run --help` and `ropewalk lm-eval ls tasks`"
        ) from error


def _parsed(harness: Any, arguments: Sequence[str]) -> Namespace:
    """The harness reads the process' own arguments, and puts ``run`` before them."""
    before, sys.argv = sys.argv, [PROGRAM, *arguments]
    try:
        args: Namespace = harness.parse_args()
    finally:
        sys.argv = before
    return args


def _complete(args: Namespace, name: str, folder: Path) -> None:
    """Add our model, our tasks, and the model's arguments to the name of a cache."""
    if not hasattr(args, "include_path"):
        return
    args.include_path = [*([args.include_path] if args.include_path else []), str(folder)]
    if args.command != "run":
        return
    stated = _stated(args)
    if "model" not in stated:
        args.model = stated["model"] = name
    if stated["model"] == name and stated.get("use_cache"):
        args.use_cache = f"{stated['use_cache']}-{_digest(stated.get('model_args') or {})}"


def _stated(args: Namespace) -> dict[str, Any]:
    """What the file of ``--config`` says, and the command line over it, as the harness merges."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    file = getattr(args, "config", None)
    stated = dict(EvaluatorConfig.load_yaml_config(file)) if file else {}
    return stated | {key: value for key, value in vars(args).items() if value}


def _digest(model_args: Mapping[str, Any] | str) -> str:
    text = json.dumps(model_args, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
