"""Task cells as lm-evaluation-harness writes its results: one JSON document for each method.

Source: lm-evaluation-harness 0.4.13, ``evaluator.simple_evaluate`` and its results file.
Deviation: a metric's key holds the length and the mode, as the harness' own RULER tasks put the
length there: ``4096,full`` for the headline, ``4096_generated,full`` for answers that were
generated. A standard error is that of a share of trials; of a loss, a quarter of the width of its
95 % interval.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.records import model_of
from ropewalk.reporting.run_record import RunRecord
from ropewalk.reporting.tasks import LONGPPL
from ropewalk.storage.files import write_whole


def write_lm_eval(runs: Iterable[RunRecord], folder: Path) -> list[Path]:
    """``<model>__<method>/results_<run>.json`` in the folder, as the harness lays them out.

    Raises RopewalkError, before anything is written, for a run without cells of tasks and for two
    of one model and method whose folders have one name; and for what cannot be written.
    """
    made: dict[Path, str] = {}
    for run in runs:
        for file, text in _files(run, folder).items():
            if file in made:
                raise RopewalkError(
                    f"{file} would be written for two run folders named {run.name}: expected "
                    "different names; rename one, or give each a --lm-eval DIR of its own"
                )
            made[file] = text
    return [write_whole(file, text.encode()) for file, text in made.items()]


def _files(run: RunRecord, folder: Path) -> dict[Path, str]:
    """What is to be written of a run, by file."""
    cells = [cell for cell in run.document["cells"] if "task" in cell and cell["status"] == "ok"]
    if not cells:
        raise RopewalkError(
            f"{run.name} has no measured cell of a task: expected a run of compare --task"
        )
    files = {}
    named = [(model_of(run.document, cell), cell["method"]) for cell in cells]
    for model, method in dict.fromkeys(named):
        found = results(run, model, method)
        text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
        name = _file_name(f"{model}__{method}")
        files[folder / name / f"results_{run.name}.json"] = f"{text}\n"
    return files


def results(run: RunRecord, model: str, method: str) -> dict[str, Any]:
    """The document of one model and method."""
    cells = [
        cell
        for cell in run.document["cells"]
        if cell.get("task") and cell["status"] == "ok" and cell["method"] == method
        if model_of(run.document, cell) == model
    ]
    own = model == run.document["model"]
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    by_task = {task: [cell for cell in cells if cell["task"] == task] for task in tasks}
    version = run.manifest.get("version")
    return {
        "results": {task: {"alias": task, **_figures(own)} for task, own in by_task.items()},
        "group_subtasks": {},
        "configs": {task: _config(task, own) for task, own in by_task.items()},
        "versions": dict.fromkeys(tasks, version),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {
            task: {_key(cell, ""): cell["metric"] == "rank_1" for cell in own}
            for task, own in by_task.items()
        },
        "n-samples": {task: _samples(own) for task, own in by_task.items()},
        "config": {
            "model": "ropewalk",
            "model_args": {"pretrained": model, "method": method},
            "model_dtype": run.manifest.get("dtype"),
            "model_sha": run.manifest.get("weights") if own else None,
        },
        "git_hash": next((o.get("commit") for o in run.origins if o.get("commit")), None),
        "model_source": "ropewalk",
        "model_name": model,
    }


def _figures(cells: list[Mapping[str, Any]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for cell in cells:
        found[_key(cell, "")] = cell["value"]
        found[_key(cell, "_stderr")] = _headline_error(cell)
        if cell["task"] != LONGPPL:
            share = cell["generation"]["right"] / cell["trials"]
            found[_key(cell, "_generated")] = share
            found[_key(cell, "_generated_stderr")] = _share_error(share, cell["trials"])
    return found


def _headline_error(cell: Mapping[str, Any]) -> float | None:
    if cell["metric"] == "rank_1":
        return _share_error(cell["value"], cell["trials"])
    return (cell["ci95"][1] - cell["ci95"][0]) / 4 if cell["ci95"] else None


def _share_error(share: float, trials: int) -> float:
    """As the harness takes it: of the mean of a sample, with one degree of freedom spent."""
    return math.sqrt(share * (1 - share) / (trials - 1))


def _config(task: str, cells: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "task": task,
        "output_type": "generate_until",
        "num_fewshot": 0,
        "metadata": {
            "lengths": sorted({cell["length"] for cell in cells}),
            "metric": cells[0]["metric"],
        },
    }


def _samples(cells: list[Mapping[str, Any]]) -> dict[str, int]:
    count = sum(cell["trials"] or 0 for cell in cells)
    return {"original": count, "effective": count}


def _key(cell: Mapping[str, Any], what: str) -> str:
    return f"{cell['length']}{what},{cell['mode']}"


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "_", name)
