"""Terminal output: progress and tables, as plain text if the output is not a terminal; or JSON alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from harness.cli.time_left import Pace
from harness.errors import escaped

if TYPE_CHECKING:
    from harness.run.progress import Progress

PLAIN_WIDTH = 200
"""Characters in a line if the output is not a terminal."""
_PLAIN_EVERY, _FIRST = 10.0, 2.0  # seconds between lines of progress without a terminal, and before the first
_BEAT = 1.0  # seconds between checks whether a line is due during a long step


class _EscapingConsole(Console):
    """Console that escapes text that would control a terminal; lines, titles and cells all pass through here."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options)


def console(*, errors: bool = False, plain_width: int = PLAIN_WIDTH) -> Console:
    """Return a console; one that is not a terminal gets plain text of a fixed width."""
    found = _EscapingConsole(stderr=errors, highlight=False)
    if found.is_terminal:
        return found
    return _EscapingConsole(stderr=errors, highlight=False, width=plain_width, no_color=True)


class _Plain:
    """Progress as a line every few seconds, also during a long step: time left, or time elapsed without a total."""

    def __init__(self, out: Console | None, every: float) -> None:
        self._out, self._every, self._text = out, every, ""
        self._pace = Pace(time.monotonic())
        self._said = time.monotonic() - max(0.0, _PLAIN_EVERY - _FIRST)

    def total(self, steps: int) -> None:
        self._pace.begin(steps, time.monotonic())

    def step(self, text: str, steps: int = 1) -> None:
        self._text = text
        self._pace.add(steps, time.monotonic())
        self.say(self._every)

    def say(self, every: float) -> None:
        now = time.monotonic()
        if self._out and now - self._said >= every:
            self._out.print(f"{self._pace.told(now)}  {self._text}", markup=False)
            self._said = now

    def beat(self, ended: Event) -> None:
        while not ended.wait(_BEAT):
            self.say(_PLAIN_EVERY)


class _Bar:
    def __init__(self, bar: RichProgress) -> None:
        self._bar, self._pace = bar, Pace(time.monotonic())
        self._task = bar.add_task("starting", total=None, left="")

    def total(self, steps: int) -> None:
        self._pace.begin(steps, time.monotonic())
        self._bar.update(self._task, total=steps)

    def step(self, text: str, steps: int = 1) -> None:
        now = time.monotonic()
        self._pace.add(steps, now)
        self._bar.update(self._task, advance=steps, description=escaped(text), left=self._pace.left(now))


@contextmanager
def progress(*, quiet: bool, verbose: bool = False) -> Iterator[Progress]:
    """Show progress on standard error: a bar on a terminal, else a line now and then; if `verbose`, a line per step."""
    out = console(errors=True)
    if quiet:
        yield _Plain(None, 0.0)
    elif verbose or not out.is_terminal:
        plain, ended = _Plain(out, 0.0 if verbose else _PLAIN_EVERY), Event()
        beat = Thread(target=plain.beat, args=(ended,), daemon=True)
        beat.start()
        try:
            yield plain
        finally:
            ended.set()
            beat.join()
    else:
        text = TextColumn("{task.description:<40}", markup=False)
        left = TextColumn("{task.fields[left]}", markup=False)
        columns = (text, BarColumn(bar_width=10), TaskProgressColumn(), TimeElapsedColumn(), left)
        with RichProgress(*columns, console=out, transient=True) as bar:
            yield _Bar(bar)


@contextmanager
def busy(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show progress during work that may take long and has no steps."""
    with progress(quiet=quiet) as shown:
        shown.step(text, 0)
        yield


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line, unless quiet."""
    if not quiet:
        console().print(text, markup=False, soft_wrap=True)


def cut(text: str, most: int = 1000) -> str:
    """Return a file's text on itself, cut to `most` characters: thousands of names would push the answer away."""
    return text if len(text) <= most else f"{text[:most]}..."


def answer(lines: Iterable[str]) -> None:
    """Print the answer of a run; in a terminal with colours, highlight the best of each column."""
    out = console()
    for line in lines:
        text = Text(escaped(line))
        if line.startswith("  "):  # a row of the table
            text.highlight_regex(r"(?<= )best\b", "bold green")
            text.highlight_regex(r"(?<= )tie\b", "green")
        out.print(text, soft_wrap=True)


def result(document: Any) -> None:
    """Print a command's result as JSON, for use by a program; ``--json`` prints nothing else."""
    print(json.dumps(document, indent=1))


def complain(text: str) -> None:
    """Print an error message on standard error."""
    print(f"harness: {escaped(text)}", file=sys.stderr)


def table(title: str, *headings: str) -> Table:
    """Return an empty table in the project's style; in a narrow terminal its cells wrap, and are never cut."""
    columns = [Column(heading, overflow="fold") for heading in headings]
    return Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=any(headings))
