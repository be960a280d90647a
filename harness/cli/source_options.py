"""The user's files and folders as a trace: options on what their arrays are, and a table of what was assumed."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from harness.cli import terminal
from harness.cli.options import typed
from harness.cli.project_defaults import UsualRun, usual_run
from harness.errors import UsageError
from harness.foreign.containers import list_arrays
from harness.foreign.guessing import MapRule, parse_rule
from harness.foreign.opening import Asked, TakenArrays, is_known

_ROWS = 40


def add_taking(parser: argparse.ArgumentParser) -> None:
    """Add the options on files that other programs wrote."""
    group = parser.add_argument_group("files of other programs")
    group.add_argument(
        "--map", action="append", default=[], metavar="PATTERN=ROLE:AXIS,AXIS", dest="rules",
        help="role and axes of arrays by name, such as 'attn*=attention:layer,head,query,key'; role 'skip' leaves them "
        "out; repeatable (default: the table [map] of harness.toml, else guessed from names and shapes)",
    )  # fmt: skip
    group.add_argument(
        "--kind", type=typed("importers"), metavar="NAME",
        help="importer of a file or folder, one of 'harness list importers' (default: recognised by content)",
    )  # fmt: skip


def file_text(paths: Sequence[str], arguments: argparse.Namespace) -> str:
    """Return the value of ``--trace`` for files and folders that form one trace."""
    asked = Asked(paths=tuple(map(Path, paths)), kind=arguments.kind or "")
    rules = tuple(map(parse_rule, arguments.rules))
    if not rules and (usual := usual_run()).rules and not is_known(asked):
        rules = _usual(usual, asked, quiet=getattr(arguments, "quiet", False))
    return f"file:{dataclasses.replace(asked, rules=rules)}"


def _usual(usual: UsualRun, asked: Asked, *, quiet: bool) -> tuple[MapRule, ...]:
    """Return the project's rules that fit an array of these files, and print those that fit none."""
    try:
        rules = [parse_rule(text) for text in usual.rules]
    except UsageError as error:
        raise UsageError(f"[map] in {usual.where}: {error}") from error
    names = list_arrays(asked.paths).found
    fitting = tuple(rule for rule in rules if any(map(rule.fits, names)))
    for rule in rules:
        if rule not in fitting:
            terminal.say(f"[map] in {usual.where}: {rule.pattern!r} fits no array here.", quiet=quiet)
    return fitting


def show_taken(taken: TakenArrays, *, quiet: bool = False) -> None:
    """Print what arrays were taken for; similar arrays whose names differ only in numbers share a row."""
    if quiet:
        return
    groups: dict[tuple[str, ...], list[str]] = {}
    for spec in taken.trace.manifest.tensors:
        guess = taken.guesses[spec.path]
        axes = ", ".join(f"{name} {n}" for name, n in zip(spec.axes, spec.shape, strict=True)) or "one value"
        like = re.sub(r"\d+", "#", spec.path), axes, spec.values or spec.dtype, spec.role.value, guess.why
        groups.setdefault(like, []).append(spec.path)
    table = terminal.table("What the arrays are taken for", "name", "axes", "type", "role", "because of")
    for (_, *cells), names in list(groups.items())[:_ROWS]:
        name = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)})"
        table.add_row(name, *cells)
    terminal.console().print(table, markup=False)
    if more := len(groups) - _ROWS:
        terminal.say(f"... and {more} more kinds of arrays.", quiet=more < 0)
    if taken.renamed:
        (path, name), *others = taken.renamed.items()
        also = f", and {len(others)} more" if others else ""
        terminal.say(f"Stored under plain names: {name!r} as {path}{also}.")
    if taken.left_out:
        listed = [f"{name} ({why})" for name, why in taken.left_out.items()]
        terminal.say(f"Left out: {', '.join(listed[:8])}{f' and {len(listed) - 8} more' if len(listed) > 8 else ''}.")
    for note in taken.notes:
        terminal.say(f"Note: {note}.")
    if taken.guessed:
        terminal.say("Not what they are? Say it with --map 'PATTERN=ROLE:AXIS,AXIS', or in [map] of harness.toml.")
