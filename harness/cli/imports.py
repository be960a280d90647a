"""The command that brings in what other programs wrote: ``import``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.backends.archive import remove
from harness.cli import show
from harness.cli.archives import add_destination, chosen_backend, write_verified
from harness.errors import HarnessError
from harness.importing.find import read_source


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("import", help="bring in what another program wrote, as an archive")
    parser.add_argument("source", type=Path, metavar="SRC", help="a file or a folder; recognised by its content")
    add_destination(parser)
    parser.add_argument("--kind", metavar="NAME", help="what SRC is, one of 'harness list importers' (default: found)")
    parser.set_defaults(command=_import)


def _import(arguments: argparse.Namespace) -> int:
    backend = chosen_backend(arguments)
    trace = read_source(arguments.source, arguments.kind)
    write_verified(trace, backend, arguments.destination, arguments.profile)
    try:
        trace.check_unchanged()
    except HarnessError:
        remove(arguments.destination)
        raise
    provenance = trace.manifest.provenance
    show.say(f"Imported by {provenance.importer}, from {len(provenance.files)} file(s).")
    if provenance.note:
        show.say(f"Note: {provenance.note}.")
    return 0
