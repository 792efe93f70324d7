"""``ropewalk plot WHAT``: pictures of what position encodings do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ropewalk.cli.options import MODEL_HELP, SPEC_HELP, Json, read_length
from ropewalk.cli.output import print_json
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.sources import locate

if TYPE_CHECKING:
    from ropewalk.methods.pictures import Subject

plot = typer.Typer(
    help="Pictures of what position encodings do: distances, angles, wavelengths, decay.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

KINDS = (".png", ".svg")
LLAMA_2 = {"head_dim": 128, "rope_theta": 10_000.0, "max_position_embeddings": 4096}
SMALL = {"head_dim": 32, "rope_theta": 10_000.0, "max_position_embeddings": 10}

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL_OR_CONFIG",
        show_default=False,
        help=f"{MODEL_HELP}, or a config.json; without it, the three numbers below.",
    ),
]
HeadDim = Annotated[
    int | None, typer.Option(metavar="D", show_default=False, help="Channels of a head.")
]
RopeTheta = Annotated[float | None, typer.Option(metavar="B", show_default=False, help="The base.")]
TrainedLength = Annotated[
    int | None,
    typer.Option(metavar="L", show_default=False, help="Tokens of a context in training."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="SPEC",
        show_default=False,
        help=f"Method; repeats: {SPEC_HELP} An omitted factor is N / L.",
    ),
]
Lengths = Annotated[
    list[str] | None,
    typer.Option(
        "--length",
        metavar="N",
        show_default=False,
        help="Context length in tokens or in trained lengths, like 2x.",
    ),
]
Out = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        show_default=False,
        help="Picture to write, .png or .svg; repeats. Without it both, in the current folder.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture over methods: what it is of by default, and what collects and draws it.

    drawn_by  module of ``ropewalk.reporting`` whose ``draw_NAME`` draws the record
    """

    name: str
    help: str
    drawn_by: str
    methods: tuple[str, ...]
    lengths: tuple[str, ...]
    numbers: Mapping[str, float]


PICTURES = (
    Picture(
        name="distances",
        help="The distance that each query is shown to each key, a panel a method.",
        drawn_by="heatmaps",
        methods=("none", "rerope", "leaky_rerope", "self_extend", "dual_chunk", "string"),
        lengths=("2x",),
        numbers=LLAMA_2,
    ),
    Picture(
        name="angles",
        help="The angle of each pair at each position, a panel a length and method.",
        drawn_by="heatmaps",
        methods=("none", "linear", "ntk_aware"),
        lengths=("2x", "4x"),
        numbers=SMALL,
    ),
    Picture(
        name="wavelengths",
        help="The wavelength of each pair against the trained length.",
        drawn_by="pairs",
        methods=("none", "linear", "ntk_aware", "ntk_by_parts"),
        lengths=("4x",),
        numbers=LLAMA_2,
    ),
    Picture(
        name="reach",
        help="The angle that each pair reaches, against what training showed of it.",
        drawn_by="pairs",
        methods=("none", "linear", "ntk_aware", "ntk_by_parts"),
        lengths=("4x",),
        numbers=LLAMA_2,
    ),
    Picture(
        name="decay",
        help="How logits fall with distance: RoFormer's bound, and the mean cosine.",
        drawn_by="decay",
        methods=("none", "linear", "ntk_aware", "ntk_by_parts"),
        lengths=("2x",),
        numbers=LLAMA_2,
    ),
)


def _command(picture: Picture) -> Callable[..., None]:
    """The command of a picture; all take the same options."""

    def command(
        model_or_config: Source = None,
        *,
        head_dim: HeadDim = None,
        rope_theta: RopeTheta = None,
        trained_length: TrainedLength = None,
        method: Methods = None,
        length: Lengths = None,
        out: Out = None,
        as_json: Json = False,
    ) -> None:
        files = _files(out, picture.name, as_json=as_json)
        numbers = {
            "head_dim": head_dim,
            "rope_theta": rope_theta,
            "max_position_embeddings": trained_length,
        }
        lengths = [read_length(word) for word in length or picture.lengths]
        subject = _subject(model_or_config, numbers, picture.numbers)
        record = _collect(picture, subject, method or picture.methods, lengths)
        _finish(record, picture.drawn_by, files, as_json=as_json)

    head_dim, base, trained = picture.numbers.values()
    command.__doc__ = (
        f"{picture.help}\n\nBy default {', '.join(picture.methods)} at "
        f"{' and '.join(picture.lengths)}, with {head_dim} channels, base {base:,.0f} and trained "
        f"length {trained:,}."
    )
    return command


for _picture in PICTURES:
    plot.command(_picture.name)(_command(_picture))


@plot.command()
def sinusoidal(
    *,
    width: Annotated[int, typer.Option(metavar="D", help="Channels of an embedding.")] = 128,
    positions: Annotated[
        int, typer.Option("--length", metavar="N", min=2, help="Positions, in tokens.")
    ] = 100,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """The table of sinusoidal absolute positions."""
    files = _files(out, "sinusoidal", as_json=as_json)
    from ropewalk.analysis.sinusoidal import sinusoidal as table

    _finish(table(width, positions), "heatmaps", files, as_json=as_json)


def _files(out: Sequence[Path] | None, name: str, *, as_json: bool) -> list[Path]:
    """Where to draw: nowhere where only numbers are wanted."""
    for file in out or ():
        if file.suffix.lower() not in KINDS:
            raise RopewalkError(f"--out {file}: expected a name that ends in .png or .svg")
    if out:
        return list(out)
    return [] if as_json else [Path(f"ropewalk-{name}{kind}") for kind in KINDS]


def _subject(
    source: str | None, numbers: Mapping[str, float | None], usual: Mapping[str, float]
) -> "Subject":
    given = {key: value for key, value in numbers.items() if value is not None}
    if source is not None:
        if given:
            raise RopewalkError(
                f"{source} with --head-dim, --rope-theta or --trained-length: expected a model or "
                "numbers; drop one"
            )
        locate(source)  # a mistyped path is answered before the heavy imports
    from ropewalk.methods.pictures import Subject
    from ropewalk.opening.shapes import shape_of

    if source is not None:
        return Subject(name=Path(source).name, section=shape_of(source).rope())
    config = {**usual, **given}
    name = f"head_dim {config['head_dim']}, base {config['rope_theta']:,.0f}"
    return Subject(name=name, section=shape_of(config).rope())


def _collect(
    picture: Picture, subject: "Subject", methods: Sequence[str], lengths: Sequence[int | str]
) -> dict[str, Any]:
    from ropewalk.evaluation.request import length_in_tokens
    from ropewalk.methods.pictures import picture as record

    trained_length = subject.section.trained_length
    tokens = [length_in_tokens(word, trained_length) for word in lengths]
    if len(tokens) > len(picture.lengths) == 1:
        raise RopewalkError(
            f"--length is given {len(tokens)} times: expected one length in this picture; drop the "
            "others"
        )
    return record(picture.name, subject, methods, tokens)


def _finish(
    record: Mapping[str, Any], drawn_by: str, files: Sequence[Path], *, as_json: bool
) -> None:
    if files:
        from ropewalk.reporting.figures import write_figure

        drawing = import_module(f"ropewalk.reporting.{drawn_by}")
        figure = getattr(drawing, f"draw_{record['plot']}")(record)
        for file in files:
            write_figure(figure, file)
    if as_json:
        print_json(record)
        return
    for file in files:
        typer.echo(file)
