"""MkDocs hook: pages and files outside docs/ join the site, under repository/.

Links are written for the repository and rewritten here, so that one link serves a code host
and the site. A link to what is in neither ends a strict build.
"""

import re
from pathlib import Path
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = ("*.md", "LICENSE", "recipes/**/README.md", "src/ropewalk/data/**/README.md")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)")


def on_files(files: Files, config: MkDocsConfig, **_: object) -> Files:
    """Add the pages, and every file of the repository that a page links to."""
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    linked = {target for page in [*pages, *(ROOT / "docs").glob("*.md")] for target in _links(page)}
    for path in sorted(pages | linked):
        if not path.is_relative_to(ROOT / "docs") and path.is_file():
            files.append(File.generated(config, _place(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The page with its links to where their targets lie in the site."""
    here = Path(page.file.abs_src_path or "")
    folder = str(Path(page.file.src_uri).parent)
    return LINK.sub(
        lambda found: f"]({relpath(_place((here.parent / found[1]).resolve()), folder)}", markdown
    )


def _links(page: Path) -> list[Path]:
    return [(page.parent / link).resolve() for link in LINK.findall(page.read_text("utf-8"))]


def _place(path: Path) -> str:
    """A file's place in the site, as a path relative to docs/."""
    inside = path.is_relative_to(ROOT / "docs")
    return str(path.relative_to(ROOT / "docs") if inside else "repository" / path.relative_to(ROOT))
