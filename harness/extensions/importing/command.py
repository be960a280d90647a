"""The command that brings in what other programs wrote: ``import``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli import show
from harness.cli.convert import add_destination, chosen_format
from harness.cli.options import add_max_inflated, typed
from harness.errors import HarnessError
from harness.foreign.source import read_source
from harness.formats.archive import archive_size, remove, require_outside
from harness.formats.conversion import convert

_KIND = "what SRC is, one of 'harness list importers' (default: found)"


def add_import(parser: argparse.ArgumentParser) -> None:
    """Bring in what another program wrote, as an archive."""
    parser.add_argument("source", type=Path, metavar="SRC", help="a file or a folder; recognised by its content")
    add_destination(parser)
    parser.add_argument("--kind", type=typed("importers"), metavar="NAME", help=_KIND)
    add_max_inflated(parser)
    parser.set_defaults(command=_import)


def _import(arguments: argparse.Namespace) -> int:
    backend, profile = chosen_format(arguments)
    require_outside(arguments.destination)
    trace = read_source(arguments.source, arguments.kind)
    manifest = convert(trace, backend, arguments.destination, profile)
    try:
        trace.check_unchanged()
    except HarnessError:
        remove(arguments.destination)
        raise
    size, _ = archive_size(arguments.destination)
    show.say(f"{arguments.destination}: {len(manifest.tensors)} tensors, {size:,} bytes, verified bit for bit.")
    provenance = trace.manifest.provenance
    show.say(f"Imported by {provenance.importer}, from {len(provenance.files)} file(s).")
    if provenance.note:
        show.say(f"Note: {provenance.note}.")
    return 0
