"""Put the committed results of the demo comparison into the README.

    ropewalk compare --out runs/demo-compare
    python recipes/demo/readme.py runs/demo-compare

Copies results.json and the picture into docs, and fills the table between the README's markers.
"""

import json
import re
import shutil
from pathlib import Path

import typer

from ropewalk.report.markdown import markdown_table
from ropewalk.report.takeaway import takeaway

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def main(run: Path) -> None:
    document = json.loads((run / "results.json").read_text("utf-8"))
    document["run_dir"] = "runs/demo-compare"
    results = ROOT / "docs" / "results" / "demo.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for name in ("curve.png", "curve.svg"):
        shutil.copy(run / name, ROOT / "docs" / "images" / name)
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text("utf-8"), document), "utf-8")


def filled(readme: str, document: dict) -> str:
    """The README with table, caption and takeaway of a comparison between its markers."""
    cell = document["cells"][0]
    text = (
        f"Perplexity of the demo model by context length ({document['protocol']}: "
        f"{cell['tokens_scored']:,} tokens scored in each cell). {takeaway(document)}\n\n"
        f"{markdown_table(document)}\n"
        "From [docs/results/demo.json](docs/results/demo.json), which "
        "`ropewalk compare` wrote.\n"
    )
    return MARKED.sub(lambda match: match[1] + text + match[2], readme)


if __name__ == "__main__":
    typer.run(main)
