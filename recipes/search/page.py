"""What searches of the demo model found, for docs/adapt.md; with three pictures.

python -m recipes.pages search
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipes.pages import IMAGES, ROOT, Blocks, result, table, where
from recipes.search.plan import DEFAULT, NEEDLE, PUBLISHED
from recipes.search.run import RESULT
from ropewalk.reporting.figures import write_figure
from ropewalk.reporting.searches import draw_descent, draw_factors
from ropewalk.searching.run import FOUND

ADAPT = ROOT / "docs" / "adapt.md"
PUBLISHED_EVALUATIONS = 1344


def blocks() -> Blocks:
    document = result(RESULT)
    every: Mapping[str, Any] = document["searches"]
    searches = {name: each for name, each in every.items() if each["objective"] == "loss"}
    _draw(searches)
    first = searches[DEFAULT.name]
    parts = first["documents"]
    texts = ", ".join(Path(name).stem for name in document["heldout"])
    setting = (
        f"Demo model at {first['length']:,} tokens, {first['length'] // first['trained_length']} "
        f"times its trained length; searched on {parts['search']} stretches of the demo book, "
        f"chosen on {parts['choice']}, tested on {parts['test']} of other texts ({texts}); the "
        f"last {first['tail_tokens']} tokens of each are scored ({where(document)}). With "
        f"`{DEFAULT.name}`: {first['verdict']}.\n\n"
    )
    pictures = (
        "\n![Factors by pair](images/search-factors.svg)\n"
        "\n![Best loss against tokens measured](images/search-demo.svg)\n"
    )
    return {
        ADAPT: {
            "search-demo": setting
            + _ways(searches)
            + "\n"
            + _against_the_published(searches)
            + pictures,
            "search-schedules": _schedules(first),
            "search-parts": _parts(document["parts"], every[NEEDLE.name]),
        }
    }


def _parts(parts: Mapping[str, Any], needle: Mapping[str, Any]) -> str:
    """Loss and needle loss of the same schedules on the same documents, against what was found."""
    by_needle = {row["name"]: row for row in parts["needle"]}
    rows = [
        [
            _name(row["name"]),
            f"{row['attention_factor']:.4g}",
            str(row["start_tokens"]),
            *_measured(row),
            *_measured(by_needle[row["name"]]),
        ]
        for row in parts["loss"]
    ]
    header = ["schedule", "magnitude", "start tokens", "loss", "to `found`", "needle", "to `found`"]
    return table(header, rows) + f"\nWith the needle loss as objective: {needle['verdict']}.\n"


def _measured(row: Mapping[str, Any]) -> tuple[str, str]:
    apart = row["to_found"]
    return f"{row['value']:.4f}", "-" if apart["ci95"] == [0.0, 0.0] else _apart(apart)


def _name(name: str) -> str:
    return f"`{name}`" if ":" in name or name == "found" else name


def _draw(searches: Mapping[str, Any]) -> None:
    write_figure(draw_factors(searches[DEFAULT.name]), IMAGES / "search-factors.svg")
    named = [{**document, "way": name} for name, document in searches.items()]
    write_figure(draw_descent(named), IMAGES / "search-demo.svg")


def _ways(searches: Mapping[str, Any]) -> str:
    rows = []
    for way, document in searches.items():
        chosen = document["rows"][0]
        rows.append(
            [
                f"`{way}`",
                f"{document['evaluations']:,.0f}",
                f"{document['token_evaluations'] / 1e6:.2f}",
                _own(chosen["name"]),
                *(f"{chosen[part]:.4f}" for part in ("search", "choice", "test")),
                _apart(chosen["to_best_fixed"]),
                _apart(chosen["to_ramp"]),
            ]
        )
    header = ["way", "evaluations", "million tokens", "chosen", "search", "choice", "test"]
    best = searches[DEFAULT.name]["best_fixed"]
    return table([*header, f"to `{best}`", "to the closed-form ramp"], rows)


def _own(name: str) -> str:
    """Whether what was chosen is the way's own, or the ramp by hand that stands in every choice."""
    return "its own" if name == FOUND else "the closed-form ramp"


def _schedules(document: Mapping[str, Any]) -> str:
    rows = [
        [
            f"`{row['name']}`",
            f"{row['attention_factor']:.4g}",
            *("-" if row[part] is None else f"{row[part]:.4f}" for part in ("search", "test")),
            _apart(row["to_best_fixed"]),
        ]
        for row in _once(document["rows"])
    ]
    header = ["schedule", "magnitude", "search", "test", "to the best fixed one"]
    return table(header, rows)


def _once(rows: Any) -> Any:
    return rows[1:] if rows[0]["name"] == rows[1]["name"] else rows


def _against_the_published(searches: Mapping[str, Any]) -> str:
    """Tokens that the default way took to the loss that the published evolution ended with."""
    if PUBLISHED.name not in searches or not searches[PUBLISHED.name]["way_curve"]:
        return ""
    evolution, ours = searches[PUBLISHED.name], searches[DEFAULT.name]
    reached = evolution["way_curve"][-1]["value"]
    tokens = next(
        (
            point["units"] * ours["tokens_each"]
            for point in ours["way_curve"]
            if point["value"] <= reached
        ),
        None,
    )
    took = evolution["token_evaluations"]
    whole = PUBLISHED_EVALUATIONS * evolution["documents"]["search"] * evolution["tokens_each"]
    ended = (
        f"LongRoPE's evolution, {evolution['evaluations']:,.0f} evaluations with those of the "
        f"fixed schedules ({took / 1e6:.1f} million tokens; {PUBLISHED_EVALUATIONS:,} of its own "
        f"are {whole / 1e6:.1f}), came to {reached:.4f} nats on the search documents "
        "with what it tried itself. "
    )
    if tokens is None:
        return f"{ended}The default way did not reach that.\n"
    return (
        f"{ended}The default way was there, or below, after {tokens / 1e6:.2f} million tokens, "
        f"{tokens / took:.3f} of that.\n"
    )


def _apart(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return "-"
    low, high = difference["ci95"]
    return f"{difference['value']:+.4f} ({low:+.4f} to {high:+.4f})"
