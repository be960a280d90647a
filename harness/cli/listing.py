"""The command ``list``: list registered plug-ins, from metadata only, or checked by importing them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from harness import registry
from harness.cli import terminal
from harness.cli.options import add_output
from harness.cli.parser import examples
from harness.errors import unknown_name

_WHAT: tuple[registry.Group, ...] = ("formats", "suites", "traces", "containers", "importers", "models")
_READERS = "readers"
_WIDTH = 80  # of output that is not a terminal: descriptions wrap, and no table has figures


class _Line(NamedTuple):
    """A listed name, its description, and why it cannot be used: empty if it can, None if not checked."""

    name: str
    description: str
    missing: str | None = None
    broken: bool = False


def add_list(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``list``."""
    parser.epilog = examples("list formats", "list --check    # what is missing here, and how to get it")
    parser.add_argument("what", nargs="?", metavar="WHAT", help=f"{', '.join((*_WHAT, _READERS))} (default: all)")
    parser.add_argument(
        "--check", action="store_true", help="import each, and say what fails, what is missing, and how to fix it"
    )
    add_output(parser, json=True)
    parser.set_defaults(command=_list)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.what not in (None, *_WHAT, _READERS):
        raise unknown_name("list", arguments.what, (*_WHAT, _READERS))
    found: dict[str, list[_Line]]
    if arguments.what == _READERS:
        found = _readers()
    else:
        groups = _WHAT if arguments.what is None else (arguments.what,)
        found = {group: list(_lines(group, arguments.check)) for group in groups}
    if arguments.json:
        terminal.result({title: [line._asdict() for line in lines] for title, lines in found.items()})
    else:
        for title, lines in found.items():
            table = terminal.table(title, "", "")
            for line in lines:
                state = "" if line.missing is None else line.missing or "ready"
                mark = " " if state.endswith(".") else "; " if state else ""
                table.add_row(line.name, f"{state}{mark}{line.description}")
            terminal.console(plain_width=_WIDTH).print(table, markup=False)
        if not arguments.check and arguments.what != _READERS:
            terminal.say("Whether each can be used here: harness list --check")
    return 1 if any(line.broken for lines in found.values() for line in lines) else 0


def _lines(group: registry.Group, check: bool) -> Iterator[_Line]:
    if check:
        for one in registry.listing(group):
            yield _Line(one.name, registry.stated(group, one.name, "description"), one.missing, one.plugin is None)
    else:
        for name in registry.names(group):
            yield _Line(name, registry.stated(group, name, "description"))


def _readers() -> dict[str, list[_Line]]:
    """Return the readers of each format here; import the formats, as only they know whether a reader can be used."""
    from harness.formats.base import load_format  # imports numpy, which the other lists do not need

    found: dict[str, list[_Line]] = {}
    for listed in registry.listing("formats"):
        if listed.plugin is None or listed.missing:
            continue
        backend = load_format(listed.name)
        for name, spec in backend.readers.items():
            place = " (stock)" if name == backend.stock else " (this project's own)" if spec.own else ""
            found.setdefault(backend.name, []).append(_Line(name, f"{spec.about}{place}", spec.missing()))
    return found
