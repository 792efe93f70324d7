"""What tuning wins back, for docs/adapt.md; with docs/images/tune.svg."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from recipes.pages import IMAGES, ROOT, Blocks, Record, result, table, where
from recipes.tune.plan import LENGTH, LOW, RUNS, SEARCHED, TRAINED, UNTUNED, TuneRun
from ropewalk.reporting.figures import line_style, write_figure

ADAPT = ROOT / "docs" / "adapt.md"


def blocks() -> Blocks:
    document = result("tune")
    draw(document)
    return {ADAPT: {"tuned": text(document)}}


def text(document: Record) -> str:
    """The table, what it says, and the picture."""
    runs = document["runs"]
    first = next(iter(runs.values()))
    rows = [
        ("original, `none`", "", *_figures(first, "before", "none"), "", ""),
        (f"`{UNTUNED}`, untuned", "", *_of_compare(document), "", ""),
        *_rows(document),
    ]
    header = ("", "tokens", f"at {TRAINED}", f"at {LENGTH:,}", "won back", "CPU s")
    tokens = sum(cell["tokens_scored"] or 0 for cell in first["cells"][:1])
    return (
        f"Nats a token of the demo model (trained length {TRAINED}; {first['protocol']}, "
        f"{len(document['heldout'])} held-out texts, {tokens:,} tokens a figure; "
        f"{where(document)}). A step is 4,096 tokens in every run.\n\n"
        f"{table(header, rows)}\n"
        "Won back: of the loss that the untuned method has at 1,024 above plain RoPE at 256; below "
        "0 % training took more than it gave. It tells runs of one method apart; methods are told "
        "apart by their loss.\n\n"
        "![Loss of held-out texts while tuning, of the runs at the lower rate](images/tune.svg)\n"
    )


def _rows(document: Record) -> Iterator[tuple[str, ...]]:
    seen: set[str] = set()
    for plan in RUNS:
        run = document["runs"].get(plan.name)
        if run is None:
            continue
        if run["method"] not in seen and run["method"] != "native":
            seen.add(run["method"])
            yield f"{_method(plan)}, untuned", "", *_figures(run, "before", run["method"]), "", ""
        share = run["won_back"]["share"]
        yield (
            _name(plan),
            f"{run['tokens']:,}",
            *_figures(run, "after", run["method"]),
            "" if share is None or run["method"] == "native" else f"{share:.0%}",
            str(run["cpu_seconds"]),
        )


def _method(plan: TuneRun) -> str:
    return plan.method if plan.method == SEARCHED else f"`{plan.method}`"


def _name(plan: TuneRun) -> str:
    return f"{plan.title}, {plan.steps} steps at {plan.rate:.0e}".replace("e-0", "e-")


def _figures(run: Record, when: str, method: str) -> tuple[str, str]:
    short, long = (_nll(run["cells"], when, method, length) for length in (TRAINED, LENGTH))
    return f"{short:.3f}", f"{long:.3f}"


def _nll(cells: list[Record], when: str, method: str, length: int) -> float:
    names = (method, "none") if method == "native" else (method,)
    found = (
        cell["nll"]
        for cell in cells
        if cell["when"] == when and cell["method"] in names and cell["length"] == length
    )
    return float(next(found))


def _of_compare(document: Record) -> tuple[str, str]:
    by_length = {cell["length"]: cell["nll"] for cell in document["untuned"]}
    return f"{by_length[TRAINED]:.3f}", f"{by_length[LENGTH]:.3f}"


def draw(document: Record) -> None:
    """Loss against tokens trained, at both lengths, of the runs at the lower rate."""
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=False)
    for panel, length in zip(axes, (TRAINED, LENGTH), strict=True):
        first = next(iter(document["runs"].values()))
        plain = _nll(first["cells"], "before", "none", TRAINED)
        panel.axhline(plain, color="0.6", linestyle=":", label=f"original at {TRAINED}")
        ran = [plan for plan in RUNS if plan.rate == LOW and plan.name in document["runs"]]
        for number, plan in enumerate(ran, start=1):
            run = document["runs"][plan.name]
            style = {**line_style(number), "markersize": 4}
            panel.plot(*_curve(run, length), **style, label=_name(plan))
        panel.set_title(f"{length:,} tokens", fontsize=10)
        panel.set_xlabel("thousand tokens trained")
    axes[0].set_ylabel("nats a token")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right upper", frameon=False, fontsize=8, handlelength=3.5
    )
    write_figure(figure, IMAGES / "tune.svg")


def _curve(run: Record, length: int) -> tuple[list[float], list[float]]:
    """Thousands of tokens, and the loss after them."""
    (stage,) = run["stages"]
    step_tokens = stage["batch"] * stage["window_tokens"]
    points = {0: _nll(run["cells"], "before", run["method"], length)}
    for cell in run["cells"]:
        if cell["length"] == length and cell["when"].startswith("stage"):
            points[int(cell["when"].rpartition(" ")[2]) * step_tokens] = cell["nll"]
    points[run["tokens"]] = _nll(run["cells"], "after", run["method"], length)
    return [tokens / 1000 for tokens in points], list(points.values())
