"""Read every model type of the installed library and write what came of it.

    python -m recipes.population.run

Writes docs/results/population.json, counts and every reading that is not right, and the tables of
docs/population.md.
"""

import json
import warnings
from collections import Counter
from dataclasses import asdict

import transformers
import typer

from recipes.population.library import model_types
from recipes.population.page import MEMORY, PAGE, RESULT, page
from recipes.population.readings import RIGHT, readings


def main() -> None:
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    types = model_types()
    found = [reading for model_type in types for reading in readings(model_type)]
    document = {
        "transformers": transformers.__version__,
        "model_types": len(types),
        "readings": len(found),
        "counts": dict(Counter(reading.status for reading in found)),
        "others": [asdict(reading) for reading in found if reading.status != RIGHT],
    }
    RESULT.write_text(f"{json.dumps(document, indent=1)}\n", "utf-8")
    memory = json.loads(MEMORY.read_text("utf-8"))
    PAGE.write_text(page(document, memory), "utf-8")


if __name__ == "__main__":
    typer.run(main)
