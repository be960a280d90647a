"""The commands on archives: ``inspect`` and ``verify``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cli import terminal
from harness.cli.options import add_max_inflated, add_output, typed
from harness.cli.parser import examples
from harness.errors import HarnessError
from harness.foreign.conforming import schema_problems
from harness.formats.archive import archive_size, open_archive, verify_archive
from harness.formats.base import load_format
from harness.formats.describing import read_elsewhere
from harness.formats.journal import being_written
from harness.trace.loss import Loss


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``inspect``."""
    parser.epilog = examples("inspect trace.slim.zarr", "inspect --json trace.h5")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="of any format")
    parser.add_argument(
        "--backend", type=typed("formats"), metavar="FORMAT",
        help="its format, or MODULE:CLASS for one of your own (default: found from its content)",
    )  # fmt: skip
    add_output(parser, json=True)
    parser.set_defaults(command=_inspect)


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``verify``."""
    parser.epilog = examples("verify trace.slim.zarr", "verify --json trace.h5 trace.npz", "verify --schema theirs.h5")
    parser.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE", help="of any format")
    parser.add_argument(
        "--schema", action="store_true",
        help="check names, axes and tables against the archive specification instead; also of files that another "
        "library wrote",
    )  # fmt: skip
    add_max_inflated(parser)
    add_output(parser, json=True)
    parser.set_defaults(command=_verify)


def _inspect(arguments: argparse.Namespace) -> int:
    out = terminal.console()
    given = load_format(arguments.backend) if arguments.backend else None
    with open_archive(arguments.archive, given) as (backend, reader, manifest):
        size, parts = archive_size(arguments.archive)
        if arguments.json:
            document = {"archive": str(arguments.archive), "format": backend.name, "size_bytes": size, "files": parts}
            terminal.result({**document, "manifest": json.loads(manifest.to_json())})
            return 0
        facts: dict[str, Any] = {}
        if manifest.incomplete is not None:
            now = ", and more is being written now" if being_written(arguments.archive) else ""
            facts["INCOMPLETE"] = f"{manifest.incomplete}{now}"
        facts["format"] = f"{backend.name}: {backend.description}"
        ratio = f"{manifest.nbytes / size:.3f} times smaller than in memory"
        facts["size"] = f"{size:,} bytes in {_count(parts, 'file')}; {ratio}"
        if manifest.incomplete is None:
            facts["elsewhere"] = read_elsewhere(backend, reader, manifest)
        facts |= dataclasses.asdict(manifest.provenance) | dataclasses.asdict(manifest.metadata)
        files, patched = facts.pop("files"), facts.pop("interventions")
        if facts["trained"] is False:
            facts["trained"] = "UNTRAINED weights"
        rows = terminal.table(str(arguments.archive), "", "")
        for name, value in facts.items():
            if value not in (None, ()):
                rows.add_row(name, ", ".join(value) if isinstance(value, tuple) else str(value))
        out.print(rows, markup=False)
        table = terminal.table(f"{len(manifest.tensors)} tensors", "tensor", "shape", "dtype", "axes", "role", "digest")
        for spec in manifest.tensors:
            digest = manifest.digests.get(spec.path, "none")
            table.add_row(spec.path, str(spec.shape), spec.dtype, " ".join(spec.axes), spec.role.value, digest)
        out.print(table, markup=False)
        if manifest.chains:
            of_tokens = any("token" in spec.axes for spec in manifest.tensors)
            unit = "tokens" if of_tokens else "residues"
            table = terminal.table(f"{len(manifest.chains)} chains", "chain", "kind", "entity", unit)
            for chain in manifest.chains:
                table.add_row(chain.name, chain.kind, chain.entity, f"{chain.start} to {chain.stop - 1}")
            out.print(table, markup=False)
        if patched:
            table = terminal.table("patched while the model ran", "tensor", "change", "from")
            for each in patched:
                table.add_row(each["tensor"], each["change"], each["run"] or "")
            out.print(table, markup=False)
        if manifest.loss is not None:
            _show_loss(out, manifest.loss)
        if files:
            table = terminal.table(f"imported from {_count(len(files), 'file')}", "file", "SHA-256")
            for each in files.items():
                table.add_row(*each)
            out.print(table, markup=False)
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _show_loss(out: Console, loss: Loss) -> None:
    """Print the rounded tensors with their errors, and the dropped tensors with how they are recomputed."""
    headings = ("tensor", "values changed", "largest error", "relative", "of a row's sum", "bits, or rows on each grid")
    table = terminal.table(loss.summary(), *headings)
    for row in loss.rounded:
        errors = (row.largest_absolute_error, row.largest_relative_error, row.largest_sum_change)
        grids = ", ".join(f"{step}: {count}" for step, count in row.rows.items())
        kept = grids if row.significand_bits is None else f"{row.significand_bits} bits of significand"
        table.add_row(row.path, f"{row.changed:,}", *("" if e is None else f"{e:.3g}" for e in errors), kept)
    out.print(table, markup=False)
    if loss.dropped:
        table = terminal.table(
            f"{len(loss.dropped)} dropped", "tensor", "shape", "dtype", "digest", "how it comes back"
        )
        for gone in loss.dropped:
            table.add_row(gone.path, str(gone.shape), gone.dtype, gone.digest, gone.recompute)
        out.print(table, markup=False)


def _conforms(arguments: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    for archive in arguments.archives:
        with terminal.busy(f"checking {archive}", quiet=arguments.json):
            try:
                problems = schema_problems(archive)
            except HarnessError as error:  # report it, and check the next archives
                problems = [f"{archive}: {str(error).removeprefix(f'{archive}: ')}"]
        for line in problems or [f"{archive} conforms to the archive specification."]:
            terminal.say(line, quiet=arguments.json)
        found.append({"archive": str(archive), "conforms": not problems, "problems": problems})
    if arguments.json:
        terminal.result(found)
    return 0 if all(one["conforms"] for one in found) else 1


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        return _conforms(arguments)
    found: list[dict[str, Any]] = []
    for archive in arguments.archives:
        with terminal.busy(f"verifying {archive}", quiet=arguments.json):
            problems = verify_archive(archive)
            incomplete: str | None = None
            if not problems:
                with open_archive(archive) as (_, _, manifest):
                    incomplete = None if manifest.incomplete is None else str(manifest.incomplete)
        said = f"{archive}: every byte and every tensor is as it was written."
        if incomplete is not None:
            said = f"{archive} is INCOMPLETE: {incomplete}. What it holds is as it was written."
        for line in problems or [said]:
            terminal.say(line, quiet=arguments.json)
        sound = not problems and incomplete is None
        found.append({"archive": str(archive), "sound": sound, "problems": problems, "incomplete": incomplete})
    if arguments.json:
        terminal.result(found)
    return 0 if all(one["sound"] for one in found) else 1
