"""The documentation as text: pages, sections, tables, and blocks of code."""

import re
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "recipes/**/README.md", "src/ropewalk/data/**/README.md")
    for page in ROOT.glob(pattern)
)


RUN_MARK = "<!-- run -->"


FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code; ``line`` is that of its first line of code."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool

    @property
    def name(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page):
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        before = text[: found.start()]
        yield Block(
            page=page,
            line=before.count("\n") + 2,
            language=found[2],
            code=re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE),
            runs=before.rstrip().endswith(RUN_MARK),
        )


def prose(page):
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def document(name):
    return (ROOT / name).read_text("utf-8")


def section(text, title, level=2):
    """What stands under a heading, up to the next of its level or above."""
    marks = "#" * level
    found = re.search(
        rf"^{marks} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"no section {title}"
    return found[1]


def spans(text):
    """Inline code."""
    return re.findall(r"`([^`\n]+)`", text)


def rows(text):
    """Cells of the rows of all tables, their heads among them."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
