"""The study of encodings, for docs/encodings.md: loss and recall by length, claims, cost."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from recipes.encodings.claims import CLAIMS, ORDER, Study, answered, shown
from recipes.pages import IMAGES, README, RESULTS, ROOT, Blocks, Record, result, table, where
from ropewalk.reporting.figures import line_style, write_figure
from ropewalk.reporting.records import PLAIN

PAGE = ROOT / "docs" / "encodings.md"
COSTS = "bench-encodings"
NAMES = {"none": "RoPE (`none`)"}


def blocks() -> Blocks:
    document = result("encodings")
    _draw(document)
    return {
        PAGE: {
            "encodings-setting": _setting(document),
            "encodings-tails": _losses(document, "tail_nats"),
            "encodings-whole": _losses(document, "whole_windows_nats"),
            "encodings-recall": _recall(document),
            "encodings-costs": _costs(),
            "encodings-claims": _claims(document),
            "encodings-seeds": _seeds(document),
        },
        README: {"encodings": _headline(document)},
    }


def _models(document: Record) -> list[Record]:
    """Of the first seed, the best at the longest length first."""
    last = str(_lengths(document)[-1])
    models = [each for each in document["models"].values() if each["seed"] == 0]
    return sorted(models, key=lambda model: float(model["lengths"][last]["tail_nats"]))


def _lengths(document: Record) -> list[int]:
    first = next(iter(document["models"].values()))
    return sorted(int(length) for length in first["lengths"])


def _name(spec: str) -> str:
    return NAMES.get(spec, f"`{spec}`")


def _setting(document: Record) -> str:
    models = list(document["models"].values())
    counts = [model["parameters"] for model in models]
    seconds = sum(model["training_seconds"] for model in models)
    tokens = document["steps"] * document["tokens_per_step"]
    return (
        f"{len(models)} decoders of {document['layers']} layers, {min(counts):,} to "
        f"{max(counts):,} parameters, "
        f"alike but for the encoding: the same numbers at the start, the same {tokens:,} bytes in "
        f"the same order, AdamW, a trained length of {document['trained_length']} bytes "
        f"({where(document)}). Each is measured on {document['targets_of_a_document']:,} bytes of "
        f"each of {len(document['documents'])} held-out texts. Training took {seconds / 60:,.0f} "
        "minutes in all, on a machine busy with other work.\n"
    )


def _headline(document: Record) -> str:
    """The order of the survey, as it was measured."""
    study, last = Study(document), _lengths(document)[-1]
    found = sorted((name for name in ORDER if name in study), key=lambda n: study.nats(n, last))
    told = ", ".join(f"{_plainly(name)} {study.nats(name, last):.2f}" for name in found)
    return (
        f"Trained at {document['trained_length']} bytes with one encoding each and read at "
        f"{last:,}, small decoders stand in this order, in nats a byte: {told}. The other lengths, "
        f"and what became of each claim of the survey: [docs/encodings.md](docs/encodings.md).\n"
    )


def _plainly(name: str) -> str:
    return f"plain RoPE (`{name}`)" if name == PLAIN else f"`{name}`"


def _losses(document: Record, key: str) -> str:
    lengths, trained = _lengths(document), document["trained_length"]
    heads = [f"{n:,}{' (trained)' if n == trained else ''}" for n in lengths]
    rows = [
        [
            _name(model["encoding"]),
            *(f"{model['lengths'][str(n)][key]:.3f}" for n in lengths),
            f"{model['parameters_of_the_encoding']:,}",
        ]
        for model in _models(document)
    ]
    return table(["encoding", *heads, "extra parameters"], rows)


def _recall(document: Record) -> str:
    """Gains of a second reading, and pairs found, by distance."""
    models = _models(document)
    distances = list(models[0]["recall"]["copies"])
    rows = [
        [
            _name(model["encoding"]),
            *(f"{fmean(model['recall']['copies'][d]):+.3f}" for d in distances),
            f"{fmean(model['recall']['pairs'].values()):.3f}",
        ]
        for model in models
    ]
    header = ["encoding", *(f"{int(d):,} back" for d in distances), "pairs found"]
    return table(header, rows)


def _costs() -> str:
    """Of one attention layer, over RoPE."""
    if not (RESULTS / f"{COSTS}.json").exists():
        return "Not measured yet: `ropewalk bench encodings`.\n"
    document = result(COSTS)
    machine, shape = document["machine"], document["shape"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    rows = [
        [
            name if name.startswith("x-") else _name(name),
            _spread(training),
            _spread(document["ratios"]["inference"][name]),
            _mebibytes(document["memory"][name]),
        ]
        for name, training in document["ratios"]["training"].items()
    ]
    header = ["one attention layer", "training step", "inference", "peak memory"]
    return (
        f"{table(header, rows)}\n"
        f"Times over RoPE's, medians and quartiles: forward and backward of {shape['training'][0]} "
        f"x {shape['training'][1]} tokens, forward of {shape['inference'][1]:,}; {shape['heads']} "
        f"heads of {shape['head_dim']} channels in {shape['dtype']} (torch {machine['torch']}, "
        f"{threads}, {machine['instructions']}).\n"
    )


def _spread(ratio: Mapping[str, Any]) -> str:
    first, third = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({first:.2f} to {third:.2f})"


def _mebibytes(peak: int | None) -> str:
    return "-" if peak is None else f"{peak / 2**20:,.0f} MiB"


def _claims(document: Record) -> str:
    study = Study(document)
    rows = [f"| {claim.text} | {' | '.join(answered(claim, study))} |" for claim in CLAIMS]
    return "\n".join(["| claim | here | evidence |", "|---|---|---|", *rows]) + "\n"


def _seeds(document: Record) -> str:
    """The headline's order under each seed."""
    last = _lengths(document)[-1]
    lines = []
    for seed in sorted({each["seed"] for each in document["models"].values()}):
        study = Study(document, seed)
        found = [name for name in ORDER if name in study]
        if len(found) < len(ORDER):
            continue
        told = ", ".join(f"`{name}` {study.nats(name, last):.3f}" for name in found)
        change = study.over(("none", last), ("alibi", last))
        lines.append(f"- seed {seed}, at {last:,}: {told}; RoPE over ALiBi {shown(change)}")
    return "\n".join(lines) + "\n"


def _draw(document: Record) -> None:
    """Loss against length, and gains of copies against distance, each encoding a line."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plain_first = sorted(_models(document), key=lambda model: model["encoding"] != "none")
    for number, model in enumerate(plain_first):
        copies, name = model["recall"]["copies"], model["encoding"]
        style = {**line_style(number), "markersize": 4}
        tails = {int(n): each["tail_nats"] for n, each in model["lengths"].items()}
        label = "RoPE (none)" if name == "none" else name
        left.plot(list(tails), np.array(list(tails.values())), **style, label=label)
        right.plot([int(d) for d in copies], [fmean(each) for each in copies.values()], **style)
    for axes in (left, right):
        axes.axvline(document["trained_length"], color="grey", linewidth=0.8, linestyle=":")
        axes.set_xscale("log", base=2)
    lengths = _lengths(document)
    left.set_xticks(lengths, [f"{n:,}" for n in lengths])
    left.set_xlabel("context length in bytes")
    left.set_ylabel("nats a byte, last bytes of a window")
    distances = [int(d) for d in _models(document)[0]["recall"]["copies"]]
    right.set_xticks(distances, [f"{d:,}" for d in distances])
    right.minorticks_off()
    right.set_xlabel("bytes from a span to its copy")
    right.set_ylabel("nats a byte gained by the copy")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, handlelength=3.5)
    write_figure(figure, IMAGES / "encodings.svg")
