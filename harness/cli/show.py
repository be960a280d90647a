"""What a person sees in the terminal: progress, tables, and plain text when it is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from harness.errors import escaped

if TYPE_CHECKING:
    from harness.run.progress import Progress

PLAIN_WIDTH = 200
"""Of text that goes to no terminal."""
_PLAIN_EVERY = 10.0  # seconds between lines of progress where there is no terminal
_KNOWN = 0.02  # of all steps, after which the time left is said: the first are of archives, which take longer


class _EscapingConsole(Console):
    """Shows no text as it is that would do something to a terminal: lines, titles and cells all come through here."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options)


def console(*, errors: bool = False) -> Console:
    """Return a console; one that is not a terminal gets plain text of a fixed width."""
    found = _EscapingConsole(stderr=errors, highlight=False)
    if found.is_terminal:
        return found
    return _EscapingConsole(stderr=errors, highlight=False, width=PLAIN_WIDTH, no_color=True)


class _Plain:
    """A line every few seconds, with the time left; none without a console."""

    def __init__(self, out: Console | None) -> None:
        self._out, self._total, self._done = out, 1, 0
        self._start = self._said = time.monotonic()

    def total(self, steps: int) -> None:
        self._total = max(1, steps)

    def step(self, text: str, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if self._out and now - self._said >= _PLAIN_EVERY and self._done:
            left = (now - self._start) / self._done * max(0, self._total - self._done)
            told = f"about {left:.0f} s left" if self._done >= _KNOWN * self._total else "time left not known yet"
            self._out.print(f"{100 * self._done // self._total:3d} %  {told}  {text}", markup=False)
            self._said = now


class _Bar:
    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def total(self, steps: int) -> None:
        self._bar.update(self._task, total=steps)

    def step(self, text: str, steps: int = 1) -> None:
        self._bar.update(self._task, advance=steps, description=escaped(text))


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Show how far a run is, on standard error: a bar on a terminal, a line now and then elsewhere."""
    out = console(errors=True)
    if quiet or not out.is_terminal:
        yield _Plain(None if quiet else out)
        return
    text = TextColumn("{task.description:<48}", markup=False)
    with RichProgress(
        text, BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=out, transient=True
    ) as bar:
        yield _Bar(bar)


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line, unless quiet."""
    if not quiet:
        console().print(text, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print on standard error what failed."""
    print(f"harness: {escaped(text)}", file=sys.stderr)


def table(title: str, *headings: str) -> Table:
    """Make an empty table in this project's one style."""
    return Table(*headings, title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=bool(headings))
