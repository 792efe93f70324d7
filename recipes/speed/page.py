"""Put the figures of ``ropewalk bench rotate``, ``decode``, ``stream``, ``perplexity`` into docs.

    ropewalk bench rotate --json > docs/results/bench-rotate.json
    ropewalk bench decode SmolLM2-135M-Instruct.Q4_1.gguf --json > docs/results/bench-decode.json
    ropewalk bench decode SmolLM2-135M-Instruct.Q4_1.gguf --length 8192 \\
        --method rerope:window=1024 --method self_extend:group_size=8,window=1024 \\
        --method dual_chunk:chunk_size=6144,local_window=2048 \\
        --json > docs/results/bench-decode-8192.json
    ropewalk bench stream --json > docs/results/bench-stream.json
    ropewalk bench perplexity --repeats 5 --json > docs/results/bench-perplexity-demo.json
    python -m recipes.speed.page

Fills the tables of docs/speed.md between their markers, from those of the files that are there.
"""

import json
from collections.abc import Callable

import typer

from recipes.pages import RESULTS, ROOT, Record, fill, table

SPEED = ROOT / "docs" / "speed.md"


def main() -> None:
    for marker, (name, page) in PAGES.items():
        path = RESULTS / name
        if path.is_file():
            document = json.loads(path.read_text("utf-8"))
            fill(SPEED, marker, f"{page(document)}\n{_taken_with(document, name)}")


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


def _spread(ratio: Record) -> str:
    first, third = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({first:.2f} to {third:.2f})"


def _taken_with(document: Record, name: str) -> str:
    machine = document["machine"]
    return (
        f"Medians, and quartiles in brackets; taken with torch {machine['torch']}, "
        f"{machine['threads']} threads, {machine['instructions']}, {machine['allocator']}; from "
        f"[docs/results/{name}](results/{name}), which `ropewalk bench {document['bench']} --json` "
        "wrote.\n"
    )


PAGES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "rotate": ("bench-rotate.json", rotate),
    "decode": ("bench-decode.json", decode),
    "decode-8192": ("bench-decode-8192.json", decode),
    "stream": ("bench-stream.json", stream),
    "perplexity": ("bench-perplexity-demo.json", perplexity),
}


if __name__ == "__main__":
    typer.run(main)
