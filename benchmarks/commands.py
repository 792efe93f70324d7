"""The commands of ``ropewalk bench``: each measures, and prints its ratios."""

from typing import Annotated

import typer

from benchmarks.printing import (
    attention_fields,
    decode_fields,
    encodings_fields,
    perplexity_fields,
    print_bench,
    rotate_fields,
    stream_fields,
    train_fields,
)
from ropewalk.cli.bench import BENCH_HELP
from ropewalk.cli.options import (
    MODEL_HELP,
    SPEC_HELP,
    Device,
    Json,
    Length,
    Model,
    read_length,
)
from ropewalk.cli.progress import bar
from ropewalk.integrations.sources import locate

bench = typer.Typer(
    help=BENCH_HELP,
    rich_markup_mode=None,
    no_args_is_help=True,
)

Repeats = Annotated[int, typer.Option(metavar="R", min=1, help="Timings; medians are printed.")]
Rounds = Annotated[
    int, typer.Option(metavar="R", min=1, help="In each, every contender runs once; medians count.")
]
ModelSource = Annotated[
    str, typer.Argument(metavar="MODEL", show_default=False, help=f"{MODEL_HELP}.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="SPEC", show_default=False, help=f"Repeats. {SPEC_HELP}"),
]


@bench.command()
def rotate(
    *,
    tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Queries and keys.")] = 4096,
    rounds: Rounds = 30,
    as_json: Json = False,
) -> None:
    """Rotating queries and keys on the CPU, beside copying them and beside other libraries.

    32 query heads and 8 key heads of 128 channels, in float32 and bfloat16. x-transformers and
    rotary-embedding-torch take part where they are installed.
    """
    from benchmarks.rotate import bench_rotate

    with bar() as progress:
        document = bench_rotate(tokens=tokens, rounds=rounds, progress=progress)
    print_bench(document, rotate_fields, as_json=as_json)


@bench.command()
def attention(
    *,
    method: Methods = None,
    length: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, show_default=False, help="Tokens; repeats."),
    ] = None,
    rounds: Rounds = 5,
    as_json: Json = False,
) -> None:
    """Attention of several regions on the CPU, beside causal attention and two score matrices.

    One layer's full pass: 9 query heads and 3 key heads of 64 channels, in float32. Without
    --length: 2048, 4096, 8192 and 16384 tokens; without --method: rerope, self_extend, dual_chunk.
    """
    from benchmarks.attention import LENGTHS, METHODS, bench_attention

    with bar() as progress:
        document = bench_attention(
            lengths=length or LENGTHS, methods=method or METHODS, rounds=rounds, progress=progress
        )
    print_bench(document, attention_fields, as_json=as_json)


@bench.command()
def decode(
    model: ModelSource,
    *,
    method: Methods = None,
    length: Length = None,
    tokens: Annotated[int, typer.Option(metavar="T", min=1, help="Decoded by each.")] = 64,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Tokens a second of methods that rotate keys as they are read, beside the model as it is.

    LENGTH is the number of cached keys; without it, 1.5 times the trained length. Without
    --method: dynamic_ntk at its default step and at step 64, rerope, dual_chunk.
    """
    wanted = None if length is None else read_length(length)
    locate(model)
    from benchmarks.decode import METHODS, bench_decode

    with bar() as progress:
        document = bench_decode(
            model,
            methods=method or METHODS,
            length=wanted,
            tokens=tokens,
            device=device,
            progress=progress,
        )
    print_bench(document, decode_fields, as_json=as_json)


@bench.command()
def stream(
    model: Model = None,
    *,
    method: Methods = None,
    length: Length = None,
    rounds: Rounds = 3,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """What decoding computes in one pass (mode stream), beside really decoding token by token.

    LENGTH is that of the sequence; without it, eight times the trained length. Without --method:
    none, yarn, and dynamic_ntk at_birth, at step 32 and at its default step. An omitted factor is
    the length over the trained length.
    """
    wanted = None if length is None else read_length(length)
    if model is not None:
        locate(model)
    from benchmarks.stream import METHODS, bench_stream

    with bar() as progress:
        document = bench_stream(
            model,
            methods=method or METHODS,
            length=wanted,
            rounds=rounds,
            device=device,
            progress=progress,
        )
    print_bench(document, stream_fields, as_json=as_json)


@bench.command()
def perplexity(
    model: Model = None,
    *,
    length: Length = None,
    repeats: Repeats = 3,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """What measuring costs: curve over seven lengths, and the memory of one long pass.

    LENGTH is that of the longest pass; without it, eight times the trained length.
    """
    wanted = None if length is None else read_length(length)
    if model is not None:
        locate(model)
    from benchmarks.perplexity import bench_perplexity

    with bar() as progress:
        document = bench_perplexity(
            model, length=wanted, repeats=repeats, device=device, progress=progress
        )
    print_bench(document, perplexity_fields, as_json=as_json)


@bench.command()
def train(
    *,
    method: Methods = None,
    length: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=2, show_default=False, help="Tokens; repeats."),
    ] = None,
    layers: Annotated[int, typer.Option(metavar="K", min=1, help="Of the decoder.")] = 2,
    rounds: Rounds = 5,
    as_json: Json = False,
) -> None:
    """Forward and backward of a decoder under methods, beside the same decoder as it is.

    A small Llama with heads like SmolLM2-135M, trained length 1,024, on the CPU in float32.
    Without --length: 1024 and 4096 tokens; without --method: yarn, dynamic_ntk, log_n, and three
    methods of several regions.
    """
    from benchmarks.train import LENGTHS, METHODS, bench_train

    with bar() as progress:
        document = bench_train(
            lengths=length or LENGTHS,
            methods=method or METHODS,
            layers=layers,
            rounds=rounds,
            progress=progress,
        )
    print_bench(document, train_fields, as_json=as_json)


@bench.command()
def encodings(*, method: Methods = None, rounds: Rounds = 5, as_json: Json = False) -> None:
    """One attention layer under each encoding, beside RoPE and beside x-transformers.

    Forward and backward at 512 tokens, forward at 4,096, 8 heads of 64 channels, on the CPU in
    float32. Without --method: all encodings that a model is trained with.
    """
    from benchmarks.encodings import SPECS, bench_encodings

    with bar() as progress:
        document = bench_encodings(specs=method or SPECS, rounds=rounds, progress=progress)
    print_bench(document, encodings_fields, as_json=as_json)
