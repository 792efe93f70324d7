"""The comparison of the demo model, for the README.

ropewalk compare
cp ropewalk-runs/demo-tail/results.json docs/results/demo.json
cp ropewalk-runs/demo-tail/curve.* docs/images/
"""

from recipes.pages import README, Blocks, result
from ropewalk.reporting.markdown import markdown_table
from ropewalk.reporting.takeaway import takeaway


def blocks() -> Blocks:
    document = result("demo")
    text = (
        f"Perplexity of the demo model by context length ({document['protocol']}: "
        f"{document['cells'][0]['tokens_scored']:,} tokens scored in each cell). "
        f"{takeaway(document)} Bold: the lowest of its column, and what is not worse by paired "
        f"difference.\n\n{markdown_table(document)}\n"
        "From [docs/results/demo.json](docs/results/demo.json), which "
        "`ropewalk compare` wrote.\n"
    )
    return {README: {"results": text}}
