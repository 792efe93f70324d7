"""The cache of every causal family, held against what the library's own cache holds.

    python -m recipes.population.memory

Writes docs/results/memory.json and the table of docs/population.md.
"""

import json
import warnings
from typing import Any

import transformers
import typer

from recipes.population.caches import agree, causal_families, counted, held, tiny
from recipes.population.library import NotBuilt
from recipes.population.page import MEMORY, PAGE, RESULT, page
from ropewalk.core.errors import RopewalkError


def main() -> None:
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    families = {family: compared(family) for family in causal_families()}
    document = {"transformers": transformers.__version__, "families": families}
    MEMORY.write_text(f"{json.dumps(document, indent=1)}\n", "utf-8")
    PAGE.write_text(page(json.loads(RESULT.read_text("utf-8")), document), "utf-8")


def compared(family: str) -> dict[str, Any]:
    """What a sequence of some tokens leaves in each layer, in numbers, and whether it agrees."""
    try:
        model: Any = tiny(family)
        numbers, tokens = held(model)
    except NotBuilt as error:
        return {"status": "not built", "reason": str(error)}
    try:
        ours = counted(model.config.to_dict(), tokens)
    except RopewalkError as error:
        return {"status": "refused", "reason": str(error)}
    status = "right" if agree(numbers, ours, tokens) else "wrong"
    return {"status": status, "tokens": tokens, "held": numbers, "counted": [list(x) for x in ours]}


if __name__ == "__main__":
    typer.run(main)
