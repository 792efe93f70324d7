"""MkDocs hook: formulas become MathML when the site is built, so that a page needs no script.

A formula that cannot be read ends a strict build. So does a command that the converter does not
know: it would be shown as it stands.
"""

import html
import logging
import re

from latex2mathml.converter import convert
from mkdocs.structure.pages import Page

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
UNREAD = re.compile(r"\\[A-Za-z]")
LOG = logging.getLogger("mkdocs.hooks.mathematics")


def on_page_content(text: str, page: Page, **_: object) -> str:
    """The page with its formulas as MathML; ``arithmatex`` has marked them."""

    def mathml(found: re.Match[str]) -> str:
        formula = html.unescape(found[2]).strip()
        try:
            converted = convert(formula, display="block" if found[1] == "div" else "inline")
        except Exception as error:  # the converter has no common type
            LOG.warning("%s: %r: %s", page.file.src_uri, formula, error)
            return found[0]
        if UNREAD.search(converted) or formula.count("{") != formula.count("}"):
            LOG.warning("%s: %r: a command or brace is not read", page.file.src_uri, formula)
        return converted

    return FORMULA.sub(mathml, text)
