"""Put every family of the installed transformers to the proof.

    python -m recipes.families.run

Writes docs/results/families.json: the families of `sharpened.py` as tests build them, and every
causal family of the library besides, shrunk by one table of sizes. Each runs in a process of
its own with a time limit. Names on the command line limit the run to those families; what
the file holds of others stays.
"""

import json
from functools import partial
from typing import Annotated, Any

import torch
import transformers
import typer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from recipes.families.examine import METHODS
from recipes.families.limits import within_limit
from recipes.families.sharpened import ENCODERS, FAMILIES, MORE_FAMILIES, tiny
from recipes.families.shrunk import refusal, shrunk
from recipes.families.uses import used
from recipes.pages import RESULTS, write_result
from ropewalk.core.errors import RopewalkError

FILE = RESULTS / "families.json"
TESTED = {**FAMILIES, **MORE_FAMILIES, **ENCODERS}


def main(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """NAMES: the families to run; without any, all."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    document = _earlier()
    for name in TESTED:
        if not names or name in names:
            document["tested"][name] = _told(name, within_limit(partial(tiny, name), uses=used))
            _write(document)
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if name not in TESTED and (not names or name in names):
            document["swept"][name] = _told(name, within_limit(partial(_swept, name)))
            _write(document)


def _swept(name: str) -> torch.nn.Module:
    """A shrunk model; RopewalkError where the default config turns nothing."""
    if (reason := refusal(name)) is not None:
        raise RopewalkError(reason)
    return shrunk(name)


def _earlier() -> dict[str, Any]:
    stated = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "methods": METHODS,
    }
    kept = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    swept = {name: each for name, each in kept.get("swept", {}).items() if name not in TESTED}
    return {**stated, "tested": kept.get("tested", {}), "swept": swept}


def _told(name: str, record: dict[str, Any]) -> dict[str, Any]:
    typer.echo(f"{name}: {record['result']} {record['reason']}")
    return record


def _write(document: dict[str, Any]) -> None:
    for part in ("tested", "swept"):
        document[part] = dict(sorted(document[part].items()))
    write_result(document, FILE)


if __name__ == "__main__":
    typer.run(main)
