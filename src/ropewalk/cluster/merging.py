"""merge: run folders of several machines become one, if they are of one setting."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.files import write_csv, write_json
from ropewalk.reporting.plots import write_curves
from ropewalk.reporting.records import loss_records
from ropewalk.storage.files import write_whole
from ropewalk.storage.folders import MANIFEST, Folder, read_manifest, shortened

Document = dict[str, Any]
CELL = ("model", "task", "method", "mode", "length")
"""What names a cell of a document."""
PAIRED = ("differences", "to_best")


def merge(run_dirs: Sequence[str | Path], out: str | Path) -> Document:
    """Join run folders into ``out``, which may be one of them: the document of the whole.

    A cell that several folders hold is taken from the first in which it ran. Paired differences
    are those that were made within a folder: ``ropewalk compare --out OUT`` with the flags of
    the whole pairs all cells, and measures nothing that is there.

    Raises RopewalkError for fewer than two folders, a folder without results, and folders of
    different settings, with what differs.
    """
    folders = [Path(each) for each in run_dirs]
    if len({each.resolve() for each in folders}) < 2:
        raise RopewalkError(f"{len(folders)} run folders: expected at least two different ones")
    manifests = [read_manifest(each / MANIFEST) for each in folders]
    documents = [_document(each) for each in folders]
    _require_one_setting(folders, manifests)
    whole = _joined(documents)
    place = Path(out)
    target = Folder.open(place, manifests[0])
    for folder in folders:
        _copy_cells(folder, target.path)
        _copy_samples(folder, target.path)
    whole["run_dir"] = str(place)
    write_json(whole, place)
    write_csv(whole, place)
    if any(record["status"] == "ok" for record in loss_records(whole)):
        write_curves(whole, place)
    return whole


def _document(folder: Path) -> Document:
    try:
        found = json.loads((folder / "results.json").read_bytes())
    except (OSError, ValueError) as error:
        raise RopewalkError(
            f"{folder} has no results.json ({error}): expected a folder of ropewalk compare that "
            "ended; give the same command again to end it"
        ) from error
    return dict(found)


def _require_one_setting(folders: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> None:
    """Raise for the first name in which a folder differs from the first one."""
    first = manifests[0]
    for folder, manifest in zip(folders, manifests, strict=True):
        for name in sorted({*first, *manifest}):
            if first.get(name) != manifest.get(name):
                raise RopewalkError(
                    f"{folder} was made with {name} {shortened(manifest.get(name))}, {folders[0]} "
                    f"with {shortened(first.get(name))}: expected folders of one setting"
                )


def _joined(documents: Sequence[Document]) -> Document:
    """Every cell once; one that ran stands before one that did not."""
    cells: dict[tuple[Any, ...], Document] = {}
    for document in documents:
        for cell in document["cells"]:
            name = tuple(cell.get(key) for key in CELL)
            if name not in cells or (cells[name]["status"] != "ok" and cell["status"] == "ok"):
                cells[name] = cell
    paired = {
        name: _distinct(each for document in documents for each in document.get(name, []))
        for name in PAIRED
    }
    return {**documents[0], "cells": list(cells.values()), **paired}


def _distinct(records: Iterable[Document]) -> list[Document]:
    return list({json.dumps(each, sort_keys=True): each for each in records}.values())


def _copy_cells(folder: Path, target: Path) -> None:
    """Each finished cell that the target lacks or holds as failed."""
    for file in sorted((folder / "cells").glob("*.json")):
        there = target / "cells" / file.name
        if there.resolve() != file.resolve() and not _ran(there) and _readable(file):
            write_whole(there, file.read_bytes())


def _copy_samples(folder: Path, target: Path) -> None:
    for file in sorted((folder / "samples").glob("*.jsonl")):
        there = target / "samples" / file.name
        if not there.exists():
            there.parent.mkdir(exist_ok=True)
            write_whole(there, file.read_bytes())


def _readable(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _ran(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_bytes())["record"]["status"] == "ok")
    except (OSError, ValueError, KeyError, TypeError):
        return False
