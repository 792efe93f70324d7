"""What the commands of ``ropewalk bench`` print."""

from collections.abc import Callable, Mapping
from typing import Any

from ropewalk.cli.output import print_fields, print_json


def print_bench(
    document: Mapping[str, Any],
    fields: Callable[[Mapping[str, Any]], Mapping[str, str]],
    *,
    as_json: bool,
) -> None:
    """The JSON document, or its ``fields`` and what they depend on."""
    if as_json:
        print_json(document)
        return
    machine = document["machine"]
    taken_with = (
        f"torch {machine['torch']}, {machine['threads']} threads, "
        f"{machine['instructions']}, {machine['allocator']}"
    )
    print_fields({**fields(document), "taken with": taken_with})


def spread(ratio: Mapping[str, Any]) -> str:
    """A ratio and its quartiles."""
    first, third = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({first:.2f} to {third:.2f})"


def rotate_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench rotate``."""
    fields = {
        f"{name}, {dtype}": f"{spread(ratio)} times clone"
        for dtype, ratios in document["ratios"].items()
        for name, ratio in ratios.items()
        if name != "clone"
    }
    for dtype, ratio in document["speedup_over_transformers"].items():
        fields[f"over transformers, {dtype}"] = f"{spread(ratio)} times faster"
    return fields


def attention_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench attention``."""
    fields = {}
    for length, ratios in document["ratios"].items():
        for name, ratio in ratios.items():
            peak = document["memory"][length][name]
            memory = "unknown memory" if peak is None else f"{peak / 2**20:,.0f} MiB"
            fields[f"{name}, {int(length):,} tokens"] = f"{spread(ratio)} times causal, {memory}"
    return fields


def encodings_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench encodings``."""
    fields = {}
    for name, training in document["ratios"]["training"].items():
        peak = document["memory"][name]
        memory = "unknown memory" if peak is None else f"{peak / 2**20:,.0f} MiB"
        passed = spread(document["ratios"]["inference"][name])
        fields[name] = f"training {spread(training)}, inference {passed} times RoPE, {memory}"
    return fields


def train_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench train``."""
    return {
        f"{name}, {int(length):,} tokens": f"{spread(ratio)} times stock"
        for length, ratios in document["ratios"].items()
        for name, ratio in ratios.items()
        if name != "stock"
    }


def decode_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench decode``."""
    speeds = document["tokens_per_second"]
    fields = {
        "model": document["model"],
        "cached keys": f"{document['cached_keys']:,}",
        "stock": f"{speeds['stock']:.2f} tokens a second",
    }
    for name, ratios in document["ratios"].items():
        fields[name] = (
            f"{speeds[name]:.2f} tokens a second, {ratios['all_tokens']:.2f} of stock; "
            f"by token {spread(ratios['by_token'])}"
        )
    return fields


def stream_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench stream``."""
    fields = {"model": document["model"], "tokens": f"{document['tokens']:,}"}
    for name, ratios in document["ratios"].items():
        difference = document["differences"][name]["mean_loss"]
        fields[name] = (
            f"{ratios['own_decoding']['median']:.1f} times faster than its decoding, "
            f"{ratios['plain_decoding']['median']:.1f} than plain decoding; "
            f"mean loss differs by {difference:.0e} nats"
        )
    return fields


def perplexity_fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Of ``bench perplexity``."""
    memory, ratio = document["memory"], document["ratios"]["curve_over_one_pass"]
    peak = memory["peak_bytes"]
    return {
        "model": document["model"],
        "longest pass": f"{memory['tokens']:,} tokens",
        "peak above the model": "unknown" if peak is None else f"{peak / 2**20:,.0f} MiB",
        "float32 logits alone": f"{memory['float32_logits_bytes'] / 2**20:,.0f} MiB",
        "one pass": f"{document['timings']['one pass']['median']:.2f} s",
        f"curve over {len(document['lengths'])} lengths": f"{spread(ratio)} times one pass",
    }
