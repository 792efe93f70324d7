"""What ``ropewalk audit`` says of published configs, and all findings, for docs/audit.md.

A block ``<!-- audit NAME ARGUMENTS -->`` holds the output for recipes/audit/configs/NAME.json.
"""

import io
import os
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from recipes.pages import ROOT, Blocks
from ropewalk.cli.main import main as command_line
from ropewalk.engines.findings.files import FILE_FINDINGS
from ropewalk.engines.findings.readers import READER_FINDINGS
from ropewalk.engines.findings.table import FINDINGS

PAGE = ROOT / "docs" / "audit.md"
WIDTH = "100"
CONFIGS = Path("recipes") / "audit" / "configs"
AUDIT = re.compile(r"<!-- audit (.+?) -->")


def blocks() -> Blocks:
    asked = AUDIT.findall(PAGE.read_text("utf-8"))
    audits = {f"audit {words}": audited(*shlex.split(words)) for words in asked}
    return {PAGE: {**audits, "findings": kinds()}}


def audited(name: str, *arguments: str) -> str:
    """The command and its output, as two blocks."""
    config = CONFIGS / f"{name}.json"
    printed = io.StringIO()
    with redirect_stdout(printed), patch.dict(os.environ, COLUMNS=WIDTH):
        status = command_line(["audit", str(ROOT / config), *arguments])
    if status != 0:
        raise SystemExit(f"{config}: exit status {status}")
    lines = [line.rstrip() for line in printed.getvalue().strip("\n").splitlines()]
    shown = "\n".join(lines).lstrip("\n")
    command = shlex.join(["ropewalk", "audit", str(config), *arguments])
    return f"```bash\n{command}\n```\n\n```text\n{shown}\n```\n"


def kinds() -> str:
    """The table of all kinds of findings."""
    head = "| id | severity | meaning | remedy |\n|---|---|---|---|\n"
    rows = [
        f"| `{kind.id}` | {kind.severity.name.lower()} | {cell(kind.meaning)} | "
        f"{cell(kind.remedy)} |\n"
        for kind in sorted(
            (*FINDINGS.values(), *FILE_FINDINGS, *READER_FINDINGS), key=lambda kind: kind.severity
        )
    ]
    return head + "".join(rows)


def cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
