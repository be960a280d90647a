"""The answer of a run on a screen of 80 columns: what decides, how every format compares, and how certain that is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from harness.analysis import formatting
from harness.report.page.conclusions import blocks
from harness.report.write import WrittenReport

WIDTH = 80
_NAME, _CELL = 22, 9
"""Width of the column of formats, and largest width of each other column, in characters."""
_ROWS = 5
"""Most formats in a block: with more, two blocks would not fit on a screen."""


def screen(written: WrittenReport) -> Iterator[str]:
    """Yield the lines of a run's answer, each of at most `WIDTH` characters."""
    for text in written.deciding:
        yield from textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    table = list(_table(written))
    if table:
        yield from ("", *table)


def _table(written: WrittenReport) -> Iterator[str]:
    columns, found = blocks(written.grades[written.grades["standing"] != ""])
    wide = min(_CELL, (WIDTH - _NAME) // max(1, len(columns)))
    heads = [textwrap.wrap(stated.short, wide - 1) for stated in columns]
    most = max(map(len, heads), default=0)
    heads = [[""] * (most - len(head)) + head for head in heads]  # align short headings at the bottom
    for number in range(most - 1):
        yield (" " * _NAME + "".join(f"{head[number]:>{wide}}" for head in heads)).rstrip()
    for number, block in enumerate(found):
        yield (f"{block.how:<{_NAME}}" + "".join(f"{head[-1]:>{wide}}" for head in heads if number == 0)).rstrip()
        for name, by in block.rows[:_ROWS]:
            cells = (formatting.stands(by[stated.name]) if stated.name in by else "–" for stated in columns)
            if len(name) > _NAME - 3:  # a long name gets its own line
                yield f"  {name}"
                name = ""
            yield f"  {name:<{_NAME - 2}}" + "".join(f"{cell:>{wide}}" for cell in cells)
        if len(block.rows) > _ROWS:
            yield f"  and {len(block.rows) - _ROWS} more, in the report"
    if found:
        yield "1.3 = 1.3 times the best; tie = within 5 %; ~1.3 = not significantly different"
