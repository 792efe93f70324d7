"""The figures of ``ropewalk bench``, for docs/speed.md.

    ropewalk bench rotate --json > docs/results/bench-rotate.json
    ropewalk bench decode SmolLM2-135M-Instruct.Q4_1.gguf --json > docs/results/bench-decode.json
    ropewalk bench decode SmolLM2-135M-Instruct.Q4_1.gguf --length 8192 \\
        --method rerope:window=1024 --method self_extend:group_size=8,window=1024 \\
        --method dual_chunk:chunk_size=6144,local_window=2048 \\
        --json > docs/results/bench-decode-8192.json
    ropewalk bench stream --json > docs/results/bench-stream.json
    ropewalk bench perplexity --repeats 5 --json > docs/results/bench-perplexity-demo.json
    ropewalk bench attention --json > docs/results/bench-attention.json
    ropewalk bench train --json > docs/results/bench-train.json
"""

from collections.abc import Callable

from recipes.pages import RESULTS, ROOT, Blocks, Record, result, table

SPEED = ROOT / "docs" / "speed.md"


def blocks() -> Blocks:
    return {SPEED: {marker: _page(name, show) for marker, (name, show) in PAGES.items()}}


def _page(name: str, show: Callable[[Record], str]) -> str:
    if not (RESULTS / f"{name}.json").exists():
        return "Not measured yet."
    document = result(name)
    taken = _taken_with(document, name)
    spread = "Taken" if show is attention else "Medians, and quartiles in brackets; taken"
    return f"{show(document)}\n{spread} {taken}"


def rotate(document: Record) -> str:
    """Times over copying, a row for each contender."""
    dtypes = list(document["ratios"])
    names = [name for name in document["ratios"][dtypes[0]] if name != "clone"]
    rows = [
        [name, *(_spread(document["ratios"][dtype][name]) for dtype in dtypes)] for name in names
    ]
    faster = [_spread(document["speedup_over_transformers"][dtype]) for dtype in dtypes]
    rows.append(["times faster than transformers", *faster])
    return table(["time over `clone`", *dtypes], rows)


def decode(document: Record) -> str:
    """Tokens a second over the model as it is, a row for each method."""
    rows = [
        [f"`{name}`", f"{ratios['all_tokens']:.2f}", _spread(ratios["by_token"])]
        for name, ratios in document["ratios"].items()
    ]
    header = ["tokens a second over stock", "all tokens", "token by token"]
    return (
        f"{document['model']}, {document['dtype']}, {document['cached_keys']:,} cached keys, "
        f"{document['tokens']} tokens by each.\n\n{table(header, rows)}"
    )


def stream(document: Record) -> str:
    """Times of decoding over that of a pass, a row for each method."""
    rows = [
        [
            f"`{name}`",
            _spread(ratios["own_decoding"]),
            _spread(ratios["plain_decoding"]),
            f"{document['differences'][name]['mean_loss']:.0e}",
        ]
        for name, ratios in document["ratios"].items()
    ]
    header = ["one pass is faster", "than its own decoding", "than plain decoding", "nats apart"]
    return (
        f"{document['model']}, {document['dtype']}, {document['tokens']:,} tokens.\n\n"
        f"{table(header, rows)}"
    )


def perplexity(document: Record) -> str:
    """A sentence."""
    memory = document["memory"]
    peak = memory["peak_bytes"]
    return (
        f"On the {document['model']} model with `{document['method']}`, a `curve` over "
        f"{len(document['lengths'])} lengths up to {memory['tokens']:,} tokens takes "
        f"{_spread(document['ratios']['curve_over_one_pass'])} times as long as one pass at the "
        f"longest. That pass peaks {peak / 2**20:,.0f} MiB above the loaded model; float32 logits "
        f"of all its tokens alone would take {memory['float32_logits_bytes'] / 2**20:,.0f} MiB.\n"
    )


def attention(document: Record) -> str:
    """A row for each contender: time over causal attention, and peak memory, at each length."""
    lengths = document["lengths"]
    names = list(dict.fromkeys(n for length in lengths for n in document["ratios"][str(length)]))
    header = ["", *(f"{length:,} tokens" for length in lengths)]
    times = [[f"`{n}`", *(_time(document, str(length), n) for length in lengths)] for n in names]
    peaks = [[f"`{n}`", *(_peak(document, str(length), n) for length in lengths)] for n in names]
    return (
        "Time over causal attention: medians, and quartiles in brackets.\n\n"
        f"{table(header, times)}\n"
        "Peak memory above inputs and output, MiB.\n\n"
        f"{table(header, peaks)}"
    )


def _time(document: Record, length: str, name: str) -> str:
    ratio = document["ratios"][length].get(name)
    return "-" if ratio is None else _spread(ratio)


def _peak(document: Record, length: str, name: str) -> str:
    peak = document["memory"][length].get(name)
    return "-" if peak is None else f"{peak / 2**20:,.0f}"


def _spread(ratio: Record) -> str:
    first, third = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({first:.2f} to {third:.2f})"


def _taken_with(document: Record, name: str) -> str:
    machine = document["machine"]
    return (
        f"with torch {machine['torch']}, {machine['threads']} threads, "
        f"{machine['instructions']}, {machine['allocator']}; from [docs/results/{name}.json]"
        f"(results/{name}.json), which `ropewalk bench {document['bench']} --json` wrote.\n"
    )


def train(document: Record) -> str:
    """Times over the model as it is, a row for each method."""
    lengths = list(document["ratios"])
    names = [name for name in document["ratios"][lengths[0]] if name != "stock"]
    rows = [
        [f"`{name}`", *(_spread(document["ratios"][length][name]) for length in lengths)]
        for name in names
    ]
    return table(["step over stock", *(f"{int(length):,} tokens" for length in lengths)], rows)


PAGES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "rotate": ("bench-rotate", rotate),
    "decode": ("bench-decode", decode),
    "decode-8192": ("bench-decode-8192", decode),
    "stream": ("bench-stream", stream),
    "perplexity": ("bench-perplexity-demo", perplexity),
    "attention": ("bench-attention", attention),
    "train": ("bench-train", train),
}
