"""The commands ``slim`` and ``unslim`` for result directories of AlphaFold."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli import options, terminal
from harness.cli.parser import examples
from harness.extensions.result_directories.manifest import KINDS, NAME
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import MODES, PLAIN, SlimOutcome, parse_bound, slim

_NAMED = 6
"""Most names listed in a sentence; it counts the rest."""


def add_slim(parser: argparse.ArgumentParser) -> None:
    """Make a result directory of AlphaFold smaller, in place."""
    parser.epilog = examples("slim --dry-run results/job_1", "slim results/job_1 --plain none")
    add = parser.add_argument
    modes = f"{' or '.join(MODES)}: lossless or declared lossy"
    add("--mode", default="slim", metavar="MODE", help=modes)
    add("--bound", metavar="ANGSTROM", help="minimal: the largest change of a predicted error, "
        "has no default")  # fmt: skip
    which = (
        f"{' or '.join(PLAIN)}: best keeps files readable for other tools (plain, or .xz if they support it); none "
        "is smaller, and tools need unslim first"
    )
    add("--plain", default="best", metavar="WHICH", help=which)
    add("--dry-run", action="store_true", help="print what would change and what it saves, without writing")
    _add_common(parser)
    parser.set_defaults(command=_slim)


def add_unslim(parser: argparse.ArgumentParser) -> None:
    """Restore every file of a slimmed directory, byte for byte."""
    parser.epilog = examples("unslim results/job_1", "unslim --quiet results/job_1")
    _add_common(parser)
    parser.set_defaults(command=_unslim)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the result directory")
    options.add_max_inflated(parser)
    options.add_output(parser, quiet="the closing line and errors")


def _slim(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    bound = None if arguments.bound is None else parse_bound(arguments.bound, "--bound")
    was_slim = (folder / NAME).exists()
    with terminal.busy(f"slimming {folder}", quiet=arguments.quiet):
        found = slim(folder, arguments.mode, bound=bound, plain=arguments.plain, dry_run=arguments.dry_run)
    lines = [" ".join(_closing(folder, found, arguments.dry_run))]
    if arguments.dry_run and arguments.plain == "best" and not was_slim:
        smallest = slim(folder, arguments.mode, bound=bound, plain="none", dry_run=True)
        lines.append(" ".join((f"With --plain none: {_sizes(smallest)}.", *_unread(folder, smallest))))
    if found.large_others:
        large = _listed([f"{row.path} ({row.before:,} bytes)" for row in found.large_others])
        lines.append(f"Large, and not touched: {large}.")
    return _say(arguments, found, lines)


def _unslim(arguments: argparse.Namespace) -> int:
    with terminal.busy(f"restoring {arguments.folder}", quiet=arguments.quiet):
        found = unslim(arguments.folder)
    return _say(arguments, found, [f"Restored {found.changed} files, byte for byte."])


def _say(arguments: argparse.Namespace, found: SlimOutcome, lines: list[str]) -> int:
    if not arguments.quiet:
        title = f"{arguments.folder}: {KINDS[found.kind]}"
        table = terminal.table(title, "file", "", "bytes before", "after", "")
        for row in found.rows:
            table.add_row(row.path, row.fate, f"{row.before:,}", f"{row.after:,}", row.note)
        terminal.console().print(table, markup=False)
    for line in lines:
        terminal.say(line)
    for problem in found.problems:
        terminal.complain(problem)
    return 1 if found.problems else 0


def _closing(folder: Path, found: SlimOutcome, dry_run: bool) -> Iterator[str]:
    did = f"{'Would change' if dry_run else 'Changed'} {found.changed} of"
    did = did if dry_run or found.changed else "Nothing to change in"
    yield f"{did} {found.files} files: {_sizes(found)}." + (" Nothing was written." if dry_run else "")
    if found.after >= found.before:
        yield "Nothing is gained."
    yield from _unread(folder, found)
    if found.changed and not dry_run:
        yield f"{folder / NAME} says where everything is."


def _unread(folder: Path, found: SlimOutcome) -> Iterator[str]:
    """Yield sentences on the files that tools cannot read as they are."""
    if names := found.read_by("unslim"):
        yield f"Tools need harness unslim {folder} first for {_listed(names)}."
    if names := found.read_by("harness"):
        yield f"No other tool is known to read what is left of {_listed(names)}."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _sizes(found: SlimOutcome) -> str:
    change = f"{found.after / found.before - 1:+.1%}" if found.before else "nothing there"
    return f"{found.before:,} bytes, {found.after:,} after ({change})"
