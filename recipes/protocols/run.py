"""One model, a few methods, every rule: how much of a perplexity is the rule that averaged it.

    python -m recipes.protocols.run

On the demo model and the first chapters of the demo book, each a document of its own length, as
reports and papers have. Results go to docs/results/protocols.json; ``python -m
recipes.protocols.page`` makes the table.
"""

import re
import time
from pathlib import Path

import typer

import ropewalk as rw
from recipes.pages import RESULTS, write_result
from recipes.run import environment
from ropewalk.data import demo_book
from ropewalk.evaluation.protocols.parameters import STRIDE, TAIL_TOKENS
from ropewalk.evaluation.protocols.table import PROTOCOLS, having
from ropewalk.integrations.loading import LoadedModel
from ropewalk.opening.checkpoints import open_checkpoint

METHODS = ("none", "yarn")
LENGTHS = (256, 512)
CHAPTERS = 8
TOKENS = 64
_HEADING = re.compile(r"^CHAPTER \d+\b.*$", re.MULTILINE)


def main(
    *, results: Path = RESULTS / "protocols.json", batch: int = 16, chapters: int = CHAPTERS
) -> None:
    loaded = open_checkpoint(None)
    texts = chapter_texts(chapters)
    begun = time.monotonic()
    rules = {}
    for name in PROTOCOLS:
        rules[name] = measured(loaded, texts, name, batch)
        typer.echo(f"{time.monotonic() - begun:6.1f} s  {name}")
        write_result(
            {
                "model": loaded.name,
                "trained_length": loaded.config["max_position_embeddings"],
                "documents": len(texts),
                "environment": environment(None, "float32", batch),
                "rules": rules,
            },
            results,
        )


def measured(loaded: LoadedModel, texts: list[str], name: str, batch: int) -> dict[str, object]:
    """The cells of one rule."""
    cells = rw.perplexity(
        loaded.model,
        texts,
        LENGTHS,
        methods=METHODS,
        protocol=name,
        tokenizer=loaded.require_tokenizer(),
        windows=1,
        tail_tokens=TOKENS if name in having(TAIL_TOKENS) else None,
        stride=TOKENS if name in having(STRIDE) else None,
        batch=batch,
    )
    return {"cells": cells}


def chapter_texts(count: int) -> list[str]:
    """The first chapters of the book that have text, without their headings."""
    chapters = _HEADING.split(demo_book().read_text("utf-8"))[1:]
    return [chapter.strip() for chapter in chapters if len(chapter) > 1000][:count]


if __name__ == "__main__":
    typer.run(main)
