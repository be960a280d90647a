"""The commands on result directories of AlphaFold: ``slim`` and ``unslim``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import options, show
from harness.predictions.manifest import KINDS, NAME
from harness.predictions.outcome import Outcome
from harness.predictions.restoring import unslim
from harness.predictions.slimming import MODES, PLAIN, parse_bound, slim


def add_slim(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``slim``."""
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--mode", default="slim", metavar="MODE", help=f"{' or '.join(MODES)}: lossless (default) or declared lossy"
    )
    parser.add_argument("--bound", metavar="ANGSTROM", help="minimal: the largest error that a predicted error may get")
    parser.add_argument(
        "--plain", default="best", metavar="WHICH", help=f"{' or '.join(PLAIN)}: whose JSON stays readable as it is"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change and what it saves; write nothing")
    parser.add_argument("--quiet", action="store_true", help="only the closing line")
    options.add_max_inflated(parser)
    parser.set_defaults(command=_slim)


def add_unslim(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``unslim``."""
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--quiet", action="store_true", help="only the closing line")
    options.add_max_inflated(parser)
    parser.set_defaults(command=_unslim)


def _slim(arguments: argparse.Namespace) -> int:
    found = slim(
        arguments.folder,
        arguments.mode,
        bound=None if arguments.bound is None else parse_bound(arguments.bound, "--bound"),
        plain=arguments.plain,
        dry_run=arguments.dry_run,
    )
    if not arguments.quiet:
        _table(f"{arguments.folder}: {KINDS[found.kind]}", found)
    saved = f"{found.before:,} bytes, {found.after:,} after ({_change(found)})"
    if arguments.dry_run:
        show.say(f"Would change {found.changed} files: {saved}. Nothing was written.")
    elif found.changed:
        show.say(f"Changed {found.changed} files: {saved}. {arguments.folder / NAME} says where everything is.")
    else:
        show.say(f"Nothing to change: {saved}.")
    return _problems(found)


def _unslim(arguments: argparse.Namespace) -> int:
    found = unslim(arguments.folder)
    if not arguments.quiet:
        _table(f"{arguments.folder}: {KINDS[found.kind]}", found)
    show.say(f"Restored {found.changed} files, byte for byte.")
    return _problems(found)


def _table(title: str, found: Outcome) -> None:
    table = show.table(title, "file", "", "bytes before", "after", "")
    for row in found.rows:
        table.add_row(row.path, row.fate, f"{row.before:,}", f"{row.after:,}", row.note)
    show.console().print(table, markup=False)


def _change(found: Outcome) -> str:
    return f"{found.after / found.before - 1:+.1%}" if found.before else "nothing there"


def _problems(found: Outcome) -> int:
    for problem in found.problems:
        show.complain(problem)
    return 1 if found.problems else 0
