"""``ropewalk tune``: fine-tune a checkpoint under a method, and save one that states it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ropewalk.cli.options import MODEL_HELP, SPEC_HELP, Device, Json, read_length, require_files
from ropewalk.cli.output import print_json, print_table, remark
from ropewalk.cli.progress import bar
from ropewalk.integrations.sources import locate

TUNE_EXAMPLES = """\b
Examples:
  ropewalk tune ./my-model --method linear:factor=4 --length 4x --text books.txt --out ./tuned
  ropewalk tune ./my-model --method yarn:factor=4 --length 16384 --text books.txt --train lora \\
      --sampler pose --budget 900 --out ./tuned
  ropewalk tune ./my-model --method abf:rope_theta=50000 --length 2x --method \\
      abf:rope_theta=200000 --length 4x --text books.txt --out ./tuned
"""


def tune(  # noqa: PLR0913  # one flag each
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP}.")],
    *,
    method: Annotated[
        list[str],
        typer.Option(
            metavar="SPEC", show_default=False, help=f"Repeats: one for each stage. {SPEC_HELP}"
        ),
    ],
    length: Annotated[
        list[str],
        typer.Option(
            metavar="N",
            show_default=False,
            help="Repeats: one for each stage. In tokens, or in trained lengths: 4096, 4x.",
        ),
    ],
    text: Annotated[
        list[Path],
        typer.Option(metavar="FILE", show_default=False, help="Repeats: what is trained on."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Becomes the checkpoint; DIR/training is the run, which goes on where it stopped.",
        ),
    ] = Path("ropewalk-tuned"),
    heldout: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Repeats: what is measured on; without it, the last tenth of each text, which is "
            "not trained on.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            show_default=False,
            help="Loading, evaluation and saving included: as many steps as fit.",
        ),
    ] = None,
    steps: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=0,
            show_default=False,
            help="Repeats: one for each stage; 0 changes the method alone. Without it 100, or what "
            "the budget leaves room for.",
        ),
    ] = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            show_default=False,
            help="Repeats: one for each stage. Positions: full (default), pose, cream.",
        ),
    ] = None,
    train: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="full, lora, or lora:rank=8,alpha=16,targets=q_proj/v_proj: with lora, norms and "
            "embeddings are trained in full.",
        ),
    ] = "full",
    batch: Annotated[int, typer.Option(metavar="B", min=1, help="Windows a step.")] = 4,
    at_once: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            min=1,
            show_default=False,
            help="Of them that go through the model at once; without it all.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            show_default=False,
            help="Peak; without it, by the number of parameters (7.5 M: 1e-3, 7 B: 8e-5).",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Repeats: lengths that are measured; without it the trained length, its "
            "doublings, and N.",
        ),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(metavar="W", min=1, show_default=False, help="Measured windows a text (8)."),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            show_default=False,
            help="Steps between measurements; without it a quarter of a stage; 0 for none.",
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default=False,
            help="Steps that a kill may cost; without it a tenth of a stage.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            show_default=False,
            help="Of forward and backward, over float32 weights: float32 or bfloat16; without it "
            "bfloat16 on a GPU.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0)] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Fine-tune a model under a method, and save a checkpoint that states it.

    Where a config.json can say the method, plain transformers and the engines compute it; where
    it cannot, ropewalk.json says it, which Ropewalk's commands and rw.load follow. What is saved
    is audited and read back before the command says that it is done.
    """
    locate(model)  # a mistyped path is answered before the heavy imports
    require_files([*text, *(heldout or [])])
    words: dict[str, Any] = {
        "steps": steps or (),
        "sampler": sampler or "full",
        "parameters": train,
        "lengths": [read_length(each) for each in measure or []],
    }
    from ropewalk.api.tuning import tune as run

    with bar() as told:
        document = run(
            model,
            method,
            [read_length(each) for each in length],
            texts=text,
            out=out,
            heldout=heldout or (),
            budget=budget,
            device=device,
            progress=told,
            batch=batch,
            at_once=at_once,
            learning_rate=learning_rate,
            windows=windows,
            evaluate_every=evaluate_every,
            save_every=save_every,
            precision=precision,
            seed=seed,
            **words,
        )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    from ropewalk.training.tuning.card import tuned_table

    header, rows = tuned_table(document)
    print_table(["nats a token", *header[1:]], rows)
    share = document["won_back"]["share"]
    if share is not None:
        typer.echo(f"Of what the method lost untuned, tuning won {share:.0%} back.")
    typer.echo(
        f"{document['checkpoint']}: {document['steps']} steps, {document['tokens']:,} tokens; "
        f"{document['stated_by']} states {document['method']}; read back, with the same logits."
    )
    for finding in document["audit"]:
        remark(f"{finding['severity']} ({', '.join(finding['engines'])}): {finding['message']}")
