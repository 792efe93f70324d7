"""MkDocs hook: formulas become MathML when the site is built, so that a page needs no script.

A formula that cannot be read ends a strict build.
"""

import html
import logging
import re

from latex2mathml.converter import convert
from mkdocs.structure.pages import Page

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
LOG = logging.getLogger("mkdocs.hooks.mathematics")


def on_page_content(text: str, page: Page, **_: object) -> str:
    """The page with its formulas as MathML; ``arithmatex`` has marked them."""

    def mathml(found: re.Match[str]) -> str:
        formula = html.unescape(found[2]).strip()
        try:
            return convert(formula, display="block" if found[1] == "div" else "inline")
        except Exception as error:  # the converter has no common type
            LOG.warning("%s: %r: %s", page.file.src_uri, formula, error)
            return found[0]

    return FORMULA.sub(mathml, text)
