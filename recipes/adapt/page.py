"""What each stage of an adaptation of the demo model did, for docs/adapt.md.

python -m recipes.pages adapt
"""

from pathlib import Path

from recipes.adapt.run import RESULT
from recipes.pages import ROOT, Blocks, Record, result, table, where
from ropewalk.reporting.searches import effect_rows

ADAPT = ROOT / "docs" / "adapt.md"


def blocks() -> Blocks:
    document = result(RESULT)
    header, rows = effect_rows(document)
    (first, *others), best = rows, _best_untuned(document)
    shown = [first, best, *(_same(row) for row in others)]
    text = f"{_setting(document)}\n\n{table(header, shown)}\n{_said(document)}"
    return {ADAPT: {"adapted": text}}


def _best_untuned(document: Record) -> tuple[str, ...]:
    """Of the fixed schedules, the best at the whole length: what no training is needed for."""
    last = str(document["length"])
    best = min(document["untuned"], key=lambda each: float(each["losses"][last]))
    return f"as it was, `{best['name']}`", *(f"{each:.4f}" for each in best["losses"].values())


def _same(row: tuple[str, ...]) -> tuple[str, ...]:
    """A stage that changed nothing says so."""
    stage, *cells = row
    return stage, *(cell.replace("  +0.0000 (+0.0000 to +0.0000)", "  the same") for cell in cells)


def _setting(document: Record) -> str:
    trained, tuned, length = (document[key] for key in ("trained_length", "tuned_length", "length"))
    *_, tested = document["documents"]
    texts = ", ".join(Path(name).stem for name in document["heldout"])
    return (
        f"The demo model (trained length {trained:,}) to {length:,} tokens, tuned at {tuned:,} for "
        f"{document['steps']} steps (`--length {length} --tune-length {tuned} --steps "
        f"{document['steps']}`; {where(document)}; {document['cpu_seconds'] / 60:.0f} CPU "
        f"minutes). Nats a token at the end of {tested} stretches of texts that it was not trained "
        f"on ({texts}), on which nothing was searched or chosen; then the difference to the stage "
        f"before, with its 95 % interval. The first search is for {tuned:,} tokens: its schedule "
        "covers no more. The second row needs no training: what is below it, the stages brought."
    )


def _said(document: Record) -> str:
    """The verdict of each search."""
    return "".join(f"- {stage}: {verdict}\n" for stage, verdict in document["stages"].items())
