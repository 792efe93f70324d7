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
    return {ADAPT: {"adapted": f"{_setting(document)}\n\n{table(header, rows)}\n{_said(document)}"}}


def _setting(document: Record) -> str:
    trained, tuned, length = (document[key] for key in ("trained_length", "tuned_length", "length"))
    *_, tested = document["documents"]
    texts = ", ".join(Path(name).stem for name in document["heldout"])
    return (
        f"The demo model (trained length {trained:,}), tuned at {tuned:,} tokens for "
        f"{document['steps']} steps, to {length:,} tokens; nats a token at the end of {tested} "
        f"stretches of texts that it was not trained on ({texts}), which no search saw, and in "
        "brackets the difference to the stage before with its 95 % interval "
        f"({where(document)}; {document['cpu_seconds'] / 60:.0f} CPU minutes)."
    )


def _said(document: Record) -> str:
    """The verdict of each search."""
    return "".join(f"- {stage}: {verdict}\n" for stage, verdict in document["stages"].items())
