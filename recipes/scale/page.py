"""Throughput of workers, and what larger runs would take, for docs/scale.md."""

from recipes.pages import RESULTS, ROOT, Blocks, result, table
from recipes.scale.arithmetic import SEVEN, Measured, activation_bytes, measured, seconds

PASSES = 32
"""Of a cell: 8 windows of 4 texts."""
LONG, LONGEST = 2**17, 2**20
LINKS = {"NVLink, 450 GB/s": 450e9, "400 Gb/s": 50e9, "100 Gb/s": 12.5e9}


def blocks() -> Blocks:
    page = ROOT / "docs" / "scale.md"
    return {page: {"throughput": _throughput(), "arithmetic": _arithmetic(measured())}}


def _throughput() -> str:
    if not (RESULTS / "scale.json").exists():
        return "Not measured yet.\n"
    document = result("scale")
    return (
        f"{document['cells']} cells of the demo model on two workers with one thread each take "
        f"{1 / document['ratio']:.2f} of the time on one ({document['ratio']:.2f} times as many in "
        f"a minute); the executor itself takes {1000 * document['overhead_seconds']:.0f} ms a "
        f"cell ({document['environment']['device']}; medians of "
        f"{len(document['rounds']['1'])} rounds; [scale.json](results/scale.json)).\n"
    )


def _arithmetic(known: Measured) -> str:
    return "\n".join((_from(known), _sweep(known), _sequence(known), _network(known), _limits()))


def _from(known: Measured) -> str:
    return (
        f"{known.sequences} sequences of {known.length:,} tokens of SmolLM2-135M took "
        f"{known.seconds:.1f} s on an {known.device} in float32: {known.share:.0%} of the float32 "
        f"peak of its datasheet, and {known.bytes_per_middle:.1f} numbers of memory for each of "
        "the feed-forward layer's width and token. A decoder of 7 B (Mistral's shape) in bfloat16 "
        "is taken to reach the same share of the bfloat16 peak (989 Tflop/s) and to need as many "
        "numbers. Everything below follows from that, and none of it was run.\n"
    )


def _sweep(known: Measured) -> str:
    each = PASSES * seconds(LONG, known)
    memory = (SEVEN.weight_bytes + activation_bytes(LONG, known)) / 1e9
    rows = [
        [f"{cards}", f"{3600 / each * cards:,.0f}", f"{24 * each / 3600 / cards:.2f}"]
        for cards in (1, 8, 64)
    ]
    return (
        f"A cell of {PASSES} passes (8 windows of 4 texts) at {LONG:,} tokens takes {each:,.0f} s "
        f"on one card and {memory:.0f} GB of its memory, weights included; a cell a card:\n\n"
        + table(("cards", "cells an hour", "hours for 24 cells"), rows)
    )


def _sequence(known: Measured) -> str:
    rows = []
    for ranks in (1, 8, 32):
        each = activation_bytes(LONGEST, known, ranks) / 1e9
        held = max(SEVEN.key_heads // ranks, 1) / SEVEN.key_heads
        cache = held * SEVEN.cache_bytes * LONGEST / 1e9
        rows.append(
            [f"{ranks}", f"{seconds(LONGEST, known, ranks):,.0f}", f"{each:.0f}", f"{cache:.0f}"]
        )
    header = ("ranks", "seconds", "GB of activations, in one call", "GB of cache, in chunks")
    return f"One pass over {LONGEST:,} tokens, on each rank:\n\n" + table(header, rows)


def _network(known: Measured) -> str:
    rows = []
    for tokens in (LONG, LONGEST):
        for ranks in (8, 32):
            sent, work = SEVEN.traffic(tokens, ranks), seconds(tokens, known, ranks)
            shares = [f"{sent / speed / work:.1%}" for speed in LINKS.values()]
            ring = SEVEN.ring(tokens, ranks) / 1e9
            named = [f"{tokens:,}", f"{ranks}", f"{sent / 1e9:.1f}"]
            rows.append([*named, *shares, f"{ring:.1f}"])
    header = ("tokens", "ranks", "GB sent by a rank", *LINKS, "GB by a ring")
    return "What heads for tokens send, and that time as a share of the computing:\n\n" + table(
        header, rows
    )


def _limits() -> str:
    return (
        f"It stops at {SEVEN.heads} ranks, the query heads; past {SEVEN.key_heads}, the key heads, "
        "ranks hold copies and the cache shrinks no more. A ring of keys and values has no such "
        "end, and sends more the more ranks there are; each of its steps would have to merge "
        "blocks of a position map under different rotations by their log-sum-exp, and to share a "
        "causal triangle out evenly.\n"
    )
