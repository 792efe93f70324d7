"""Tables as wide as the terminal: text is broken between words, and no word is cut short."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Column, Table

LONGEST_WORD = 24
"""Characters: a longer word, as a method with many parameters is, may be broken."""
CLOSE = (0, 1, 0, 0)
"""Around a cell, from its top on: one blank on its right."""
ENDLESS = 10**6


def fit(table: "Table", console: "Console") -> None:
    """Give each column its width, columns closer to each other where there is need. Where the
    words themselves need more, the console gets it.
    """
    wanted = [_measured(column, console) for column in table.columns]
    if _width(table, console) > console.width:
        table.padding = CLOSE
    whole = _width(table, console)
    between = whole - sum(each.maximum for each in wanted)
    widths = [each.maximum for each in wanted]
    spare = [width - each.minimum for width, each in zip(widths, wanted, strict=True)]
    for _ in range(max(0, whole - console.width)):
        widest = max(range(len(widths)), key=lambda at: (spare[at] > 0, widths[at]))
        if spare[widest] <= 0:
            break
        widths[widest], spare[widest] = widths[widest] - 1, spare[widest] - 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width, column.overflow = width, "fold"
    console.width = max(console.width, sum(widths) + between)


def _width(table: "Table", console: "Console") -> int:
    """Of the table where no line breaks."""
    return console.measure(table, options=console.options.update_width(ENDLESS)).maximum


def _measured(column: "Column", console: "Console") -> "Measurement":
    """What the column needs at least, and for no line to break."""
    from rich.measure import Measurement

    cells = [console.measure(each) for each in (column.header, *column.cells)]
    least = max(each.maximum if column.no_wrap else each.minimum for each in cells)
    return Measurement(min(least, LONGEST_WORD), max(each.maximum for each in cells))
