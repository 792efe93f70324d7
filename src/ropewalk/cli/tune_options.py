"""Options of ``ropewalk tune``."""

from pathlib import Path
from typing import Annotated

import typer

from ropewalk.cli.options import MODEL_HELP, SPEC_HELP

Model = Annotated[str, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP}.")]
Methods = Annotated[
    list[str],
    typer.Option(
        "--method",
        metavar="SPEC",
        show_default=False,
        help=f"Repeats: one for each stage. {SPEC_HELP}",
    ),
]
Lengths = Annotated[
    list[str],
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="Repeats: one for each stage. In tokens, or in trained lengths: 4096, 4x.",
    ),
]
Texts = Annotated[
    list[Path],
    typer.Option("--text", metavar="FILE", show_default=False, help="Repeats: what is trained on."),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Becomes the checkpoint; DIR/training is the run, which goes on where it stopped.",
    ),
]
Heldout = Annotated[
    list[Path] | None,
    typer.Option(
        "--heldout",
        metavar="FILE",
        show_default=False,
        help="Repeats: what is measured on; without it, the last tenth of each text, which is "
        "not trained on.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="SECONDS",
        min=1,
        show_default=False,
        help="Loading, evaluation and saving included: as many steps as fit.",
    ),
]
Steps = Annotated[
    list[int] | None,
    typer.Option(
        "--steps",
        metavar="N",
        min=0,
        show_default=False,
        help="Repeats: one for each stage; 0 changes the method alone. Without it 100, or what "
        "the budget leaves room for.",
    ),
]
Samplers = Annotated[
    list[str] | None,
    typer.Option(
        "--sampler",
        metavar="WORD",
        show_default=False,
        help="Repeats: one for each stage. Positions: full (default), pose, cream.",
    ),
]
Trained = Annotated[
    str,
    typer.Option(
        "--train",
        metavar="WORD",
        help="full, lora, or lora:rank=8,alpha=16,targets=q_proj/v_proj: with lora, norms and "
        "embeddings are trained in full.",
    ),
]
Batch = Annotated[int, typer.Option("--batch", metavar="B", min=1, help="Windows a step.")]
AtOnce = Annotated[
    int | None,
    typer.Option(
        "--at-once",
        metavar="B",
        min=1,
        show_default=False,
        help="Of them that go through the model at once; without it all.",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        metavar="R",
        show_default=False,
        help="Peak; without it, by the number of parameters (7.5 M: 3e-4, 7 B: 2e-5).",
    ),
]
Measured = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        metavar="N",
        show_default=False,
        help="Repeats: lengths that are measured; without it the trained length, its "
        "doublings, and N.",
    ),
]
Windows = Annotated[
    int | None,
    typer.Option(
        "--windows", metavar="W", min=1, show_default=False, help="Measured windows a text (8)."
    ),
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(
        "--evaluate-every",
        metavar="N",
        min=0,
        show_default=False,
        help="Steps between measurements; without it a quarter of a stage; 0 for none.",
    ),
]
SaveEvery = Annotated[
    int | None,
    typer.Option(
        "--save-every",
        metavar="N",
        min=1,
        show_default=False,
        help="Steps that a kill may cost; without it a tenth of a stage.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="WORD",
        show_default=False,
        help="Of forward and backward, over float32 weights: float32 or bfloat16; without it "
        "bfloat16 on a GPU.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0)]
