"""The command ``list``: what is registered, from metadata alone, or checked by importing it."""

from __future__ import annotations

import argparse

from harness import registry
from harness.cli import show
from harness.errors import unknown_name

_WHAT: tuple[registry.Group, ...] = ("formats", "suites", "traces", "containers", "importers", "models")
_READERS = "readers"


def add_list(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``list``."""
    parser.add_argument("what", nargs="?", metavar="WHAT", help=f"{', '.join((*_WHAT, _READERS))} (default: all)")
    parser.add_argument(
        "--check", action="store_true", help="import each, and say what fails, what is missing, and what to do"
    )
    parser.set_defaults(command=_list)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.what == _READERS:
        return _readers()
    if arguments.what not in (None, *_WHAT):
        raise unknown_name("list", arguments.what, (*_WHAT, _READERS))
    groups = _WHAT if arguments.what is None else (arguments.what,)
    if arguments.check:
        return 1 if sum(_checked(group) for group in groups) else 0
    for group in groups:
        table = show.table(group)
        for name in registry.names(group):
            table.add_row(name, registry.stated(group, name, "description"))
        show.console().print(table, markup=False)
    show.say("Whether each can be used here: harness list --check")
    return 0


def _readers() -> int:
    """Print what reads each format here: formats are imported, for only they know whether a reader can be used."""
    from harness.formats.base import load_format  # with numpy, which the other lists need not

    table = show.table(_READERS)
    for listed in registry.listing("formats"):
        if listed.plugin is None or listed.missing:
            continue
        backend = load_format(listed.name)
        for name, spec in backend.readers.items():
            place = "stock" if name == backend.stock else "this project's own" if spec.own else ""
            told = f"{spec.about}{f' ({place})' if place else ''}"
            table.add_row(backend.name, name, told, spec.missing() or "ready")
    show.console().print(table, markup=False)
    return 0


def _checked(group: registry.Group) -> int:
    """Print what a group needs; return how many of it cannot be imported."""
    listed = registry.listing(group)
    table = show.table(group)
    for one in listed:
        table.add_row(one.name, registry.stated(group, one.name, "description"), one.missing or "ready")
    show.console().print(table, markup=False)
    return sum(one.plugin is None for one in listed)
