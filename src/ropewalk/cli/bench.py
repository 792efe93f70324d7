"""``ropewalk bench WHAT``: speed and memory as ratios against a limit of the same run."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ropewalk.cli.options import Json, Length, Model, read_length
from ropewalk.cli.output import print_fields, print_json
from ropewalk.integrations.sources import locate

bench = typer.Typer(
    help="Speed and memory, as ratios against a limit measured in the same run.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Repeats = Annotated[int, typer.Option(metavar="R", min=1, help="Timings; medians are printed.")]


@bench.command()
def perplexity(
    model: Model = None, *, length: Length = None, repeats: Repeats = 3, as_json: Json = False
) -> None:
    """What measuring costs: curve over seven lengths, and the memory of one long pass.

    LENGTH is that of the longest pass; without it, eight times the trained length.
    """
    wanted = None if length is None else read_length(length)
    if model is not None:
        locate(model)
    from ropewalk.api.benching import bench_perplexity

    document = bench_perplexity(model, length=wanted, repeats=repeats)
    if as_json:
        print_json(document)
    else:
        _print_perplexity(document)


def _print_perplexity(document: Mapping[str, Any]) -> None:
    curve, memory = document["curve"], document["memory"]
    peak = memory["peak_bytes"]
    print_fields(
        {
            "model": document["model"],
            "longest pass": f"{memory['tokens']:,} tokens",
            "peak above the model": "unknown" if peak is None else f"{peak / 2**20:,.0f} MiB",
            "float32 logits alone": f"{memory['float32_logits_bytes'] / 2**20:,.0f} MiB",
            "one pass": f"{curve['one_pass_at_the_longest']['median_seconds']:.2f} s",
            f"curve over {len(curve['lengths'])} lengths": (
                f"{curve['curve']['median_seconds']:.2f} s, {curve['ratio']:.2f} times one pass"
            ),
        }
    )
