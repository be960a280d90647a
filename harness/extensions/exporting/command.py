"""The command ``export``: write an archive in the layout of another program."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import registry
from harness.cli import terminal
from harness.cli.options import add_max_inflated, add_output
from harness.cli.parser import examples
from harness.errors import UsageError
from harness.extensions.exporting.layout import ExportLayout, export
from harness.formats.archive import archive_size, check_destination, require_outside
from harness.formats.archive_trace import open_archived

_SHOWN = 8  # paths listed for each reason to leave tensors out


def add_export(parser: argparse.ArgumentParser) -> None:
    """Write an archive in the layout of another program."""
    parser.epilog = examples(
        "export trace.slim.zarr trace.vizfold.zarr --layout vizfold",
        "export trace.h5 trace.npz --layout npz",
    )
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="of any format")
    parser.add_argument("destination", type=Path, metavar="DST", help="a name that does not exist yet")
    known = (f"{name}: {registry.stated('layouts', name, 'description')}" for name in registry.names("layouts"))
    parser.add_argument("--layout", required=True, metavar="NAME", help="; ".join(known))
    add_max_inflated(parser)
    add_output(parser, quiet="warnings and errors")
    parser.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> int:
    layout: ExportLayout = registry.load("layouts", arguments.layout)()
    if missing := layout.missing():
        raise UsageError(f"The layout {layout.name!r} {missing}.")
    check_destination(arguments.destination)
    require_outside(arguments.destination)
    trace = open_archived(arguments.archive)
    with terminal.busy(f"writing {arguments.destination} and reading it back", quiet=arguments.quiet):
        lacking, notes = export(trace, layout, arguments.destination)
    size, _ = archive_size(arguments.destination)
    count = len(trace.manifest.tensors) - len(lacking)
    terminal.say(
        f"{arguments.destination}: {count} tensors, {size:,} bytes, read back and the same bit for bit.",
        quiet=arguments.quiet,
    )
    for why in dict.fromkeys(lacking.values()):
        paths = [path for path, reason in lacking.items() if reason == why]
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        terminal.say(f"Left out, for {why}: {', '.join(paths[:_SHOWN])}{more}.")
    for note in notes:
        terminal.say(note)
    if trace.manifest.lacks:
        terminal.say(f"Its values are {', '.join(trace.manifest.lacks)}, as those of {arguments.archive}.")
    return 0
