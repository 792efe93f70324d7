"""The page: one HTML file under 1 MB, with no link or source outside it."""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra
from ropewalk.reporting.page.view import run_view
from ropewalk.reporting.run_record import RunRecord
from ropewalk.storage.files import write_whole
from ropewalk.storage.version import code_version

LARGEST = 1_000_000
"""Bytes of a page."""
PLAIN_DATA = 250_000
"""Characters of data; longer data is packed, so that the page stays small."""
_ROOM = "ropewalk.reporting.page"


def write_page(runs: Sequence[RunRecord], file: Path) -> Path:
    """Write the page of some runs.

    Raises RopewalkError without jinja2, for a page that would be larger than 1 MB, and if the
    file cannot be written.
    """
    page = render(runs).encode()
    if len(page) > LARGEST:
        raise RopewalkError(
            f"{file}: the page would have {len(page):,} bytes; expected less than {LARGEST:,}; "
            "report fewer run folders at once, or write a .parquet file"
        )
    return write_whole(file, page)


def render(runs: Sequence[RunRecord]) -> str:
    """The page as text. Raises RopewalkError without jinja2 or for what is no comparison."""
    require_extra("report", "jinja2", purpose="the page of a report")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_ROOM, "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = _source("page.js")
    return environment.get_template("page.html.j2").render(
        runs=[run_view(run) for run in runs],
        data=_packed({"ropewalk": code_version(), "runs": [run.data() for run in runs]}),
        style=_source("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _source(name: str) -> str:
    return (files(_ROOM) / "templates" / name).read_text("utf-8")


def _packed(data: dict[str, Any]) -> dict[str, Any]:
    """The data as it stands; if it is long, gzip in base64 under ``gzip``."""
    text = json.dumps(data, ensure_ascii=False)
    if len(text) <= PLAIN_DATA:
        return data
    return {"gzip": base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()}
