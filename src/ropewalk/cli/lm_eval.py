"""``ropewalk lm-eval``: lm-evaluation-harness with the model ``ropewalk`` and our tasks."""

from importlib.resources import as_file, files

import typer

LM_EVAL_EXAMPLES = """\b
Examples:
  ropewalk lm-eval --model_args pretrained=./my-model,method=yarn:factor=4 --tasks hellaswag
  ropewalk lm-eval ls tasks
"""
PASSED_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def lm_eval(context: typer.Context) -> None:
    """Run lm-evaluation-harness; its model is ropewalk unless --model names another.

    All arguments are the harness' own (lm-eval run --help). Model args of ropewalk: pretrained,
    method, max_length (without it, what the method was asked to reach), dtype, device.
    """
    from ropewalk.integrations.harness import lm_eval as run

    if not context.args:
        typer.echo(context.get_help())
        return
    with as_file(files("ropewalk.comparing.harness") / "tasks") as folder:
        run(context.args, folder)
