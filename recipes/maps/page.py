"""Position maps on the demo model, for docs/evidence.md."""

from recipes.pages import EVIDENCE, Blocks, Record, at, result, table, where


def blocks() -> Blocks:
    document = result("maps-demo")
    trained = document["trained_length"]
    lengths = sorted({cell["length"] for cell in document["cells"]})
    rows = (
        [f"`{method}`", *_row(document, method, trained, lengths)]
        for method in dict.fromkeys(cell["method"] for cell in document["cells"])
    )
    header = ["method", f"nats at {trained:,}", *(f"{n:,}" for n in lengths if n > trained)]
    text = (
        f"Mean loss of {document['model']} at its trained length of {trained:,}, and how much more "
        f"it is beyond ({document['protocol']}; {where(document)}).\n\n{table(header, rows)}"
    )
    return {EVIDENCE: {"maps-demo": text}}


def _row(document: Record, method: str, trained: int, lengths: list[int]) -> list[str]:
    """Nats at the trained length, then the change in percent of them."""
    nats = {n: at(document["cells"], method, "full", n) for n in lengths}
    own = nats[trained]
    if own is None:
        return ["-" for _ in lengths]
    beyond = (nats[n] for n in lengths if n > trained)
    changes = ("-" if cell is None else _percent(cell["nll"] / own["nll"] - 1) for cell in beyond)
    return [f"{own['nll']:.3f}", *changes]


def _percent(share: float) -> str:
    return f"{100 * (round(share, 3) or 0.0):+.1f} %"
