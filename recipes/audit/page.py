"""Put what `ropewalk audit` says about published configs, and all kinds of findings, on the page.

    python recipes/audit/page.py

Fills the blocks of docs/audit.md between ``<!-- audit NAME ARGUMENTS -->`` and ``<!-- /audit -->``
with the output for recipes/audit/configs/NAME.json, and the table between ``<!-- findings -->``
and ``<!-- /findings -->``.
"""

import io
import os
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from ropewalk.cli.main import main as command_line
from ropewalk.engines.findings.table import FINDINGS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "audit.md"
WIDTH = "100"
CONFIGS = Path("recipes") / "audit" / "configs"
AUDIT = re.compile(r"(<!-- audit (\w+)([^>]*) -->\n).*?(<!-- /audit -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- findings -->\n).*?(<!-- /findings -->)", re.DOTALL)


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")


def filled(page: str) -> str:
    """The page with fresh blocks."""
    page = AUDIT.sub(lambda m: m[1] + audited(m[2], shlex.split(m[3])) + m[4], page)
    return TABLE.sub(lambda m: m[1] + kinds() + m[2], page)


def audited(name: str, arguments: list[str]) -> str:
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
        for kind in sorted(FINDINGS.values(), key=lambda kind: kind.severity)
    ]
    return head + "".join(rows)


def cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


if __name__ == "__main__":
    main()
