"""The commands on archives and what there is: ``list``, ``inspect``, ``verify``, ``fidelity``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import registry
from harness.backends.archive import archive_size, open_archive, verify_archive
from harness.backends.journal import being_written
from harness.cli import show
from harness.errors import unknown_name
from harness.trace.fidelity import compare
from harness.trace.lossy.record import Loss
from harness.trace.sources import find_source, open_trace

_WHAT: tuple[registry.Group, ...] = ("backends", "suites", "traces", "importers", "models")


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    parser = commands.add_parser("list", help="list what there is, and what is missing for it")
    parser.add_argument("what", nargs="?", metavar="WHAT", help=f"{', '.join(_WHAT)} (default: all)")
    parser.set_defaults(command=_list)
    parser = commands.add_parser("inspect", help="show what an archive holds")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE")
    parser.set_defaults(command=_inspect)
    parser = commands.add_parser("verify", help="check every byte of archives")
    parser.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE")
    parser.set_defaults(command=_verify)
    parser = commands.add_parser("fidelity", help="compare synthetic tensors with real ones")
    parser.add_argument("--trace", default="synthetic:n_res=256,layers=2", metavar="NAME[:key=value,...]")
    parser.set_defaults(command=_fidelity)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.what not in (None, *_WHAT):
        raise unknown_name("list", arguments.what, _WHAT)
    out = show.console()
    for group in _WHAT if arguments.what is None else (arguments.what,):
        table = show.table(group)
        for listed in registry.listing(group):
            state = listed.missing or "ready"
            table.add_row(listed.name, getattr(listed.plugin, "description", ""), state)
        out.print(table, markup=False)
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    out = show.console()
    with open_archive(arguments.archive) as (backend, _, manifest):
        size, parts = archive_size(arguments.archive)
        rows = show.table(str(arguments.archive))
        if manifest.incomplete is not None:
            now = ", and more is being written now" if being_written(arguments.archive) else ""
            rows.add_row("INCOMPLETE", f"{manifest.incomplete}{now}")
        rows.add_row("format", f"{backend.name}: {backend.description}")
        plural = "s" if parts != 1 else ""
        rows.add_row(
            "size", f"{size:,} bytes in {parts} file{plural}; {manifest.nbytes / size:.3f} times smaller than in memory"
        )
        facts = {**dataclasses.asdict(manifest.provenance), **dataclasses.asdict(manifest.metadata)}
        files = facts.pop("files")
        if facts["trained"] is False:
            facts["trained"] = "UNTRAINED weights"
        for name, value in facts.items():
            if value not in (None, ()):
                rows.add_row(name, ", ".join(value) if isinstance(value, tuple) else str(value))
        out.print(rows, markup=False)
        table = show.table(f"{len(manifest.tensors)} tensors", "tensor", "shape", "dtype", "axes", "role", "digest")
        for spec in manifest.tensors:
            digest = manifest.digests.get(spec.path, "none")
            table.add_row(spec.path, str(spec.shape), spec.dtype, " ".join(spec.axes), spec.role.value, digest)
        out.print(table, markup=False)
        if manifest.loss is not None:
            _show_loss(out, manifest.loss)
        if files:
            table = show.table(f"imported from {len(files)} file{'s' if len(files) != 1 else ''}", "file", "SHA-256")
            for name, digest in files.items():
                table.add_row(name, digest)
            out.print(table, markup=False)
    return 0


def _show_loss(out: Console, loss: Loss) -> None:
    """Show what was rounded, with its errors, and what was dropped, with how it comes back."""
    headings = ("tensor", "values changed", "largest error", "relative", "of a row's sum", "bits, or rows on each grid")
    table = show.table(loss.summary(), *headings)
    for row in loss.rounded:
        rows = ", ".join(f"{step}: {count}" for step, count in row.rows.items())
        table.add_row(
            row.path,
            f"{row.changed:,}",
            f"{row.largest_absolute_error:.3g}",
            f"{row.largest_relative_error:.3g}",
            "" if row.largest_sum_change is None else f"{row.largest_sum_change:.3g}",
            rows if row.significand_bits is None else f"{row.significand_bits} bits of significand",
        )
    out.print(table, markup=False)
    if loss.dropped:
        table = show.table(f"{len(loss.dropped)} dropped", "tensor", "shape", "dtype", "digest", "how it comes back")
        for gone in loss.dropped:
            table.add_row(gone.path, str(gone.shape), gone.dtype, gone.digest, gone.recompute)
        out.print(table, markup=False)


def _verify(arguments: argparse.Namespace) -> int:
    code = 0
    for archive in arguments.archives:
        problems = verify_archive(archive)
        for problem in problems:
            print(problem)
        if problems:
            code = 1
            continue
        with open_archive(archive) as (_, _, manifest):
            incomplete = manifest.incomplete
        if incomplete is None:
            print(f"{archive}: every byte and every tensor is as it was written.")
        else:
            code = 1
            print(f"{archive} is INCOMPLETE: {incomplete}. What it holds is as it was written.")
    return code


def _fidelity(arguments: argparse.Namespace) -> int:
    real = {}
    for name, role in (("af2-1ubq", "pair"), ("vit-mnist", "attention")):
        source, _ = find_source(name)
        real[role] = None if source.missing() else open_trace(name)
    rows = compare(open_trace(arguments.trace), real["pair"], real["attention"])
    table = show.table(arguments.trace, "tensor", "statistic", "trace", "real", "difference")
    for row in rows:
        difference = f"{row.relative_difference:+.1%}"
        table.add_row(row.role.value, row.statistic, f"{row.synthetic:.4g}", f"{row.real:.4g}", difference)
    out = show.console()
    out.print(table, markup=False)
    if any(row.published for row in rows):
        out.print(
            "Real values are the published ones where HARNESS_DATA names no real tensors to measure.", markup=False
        )
    return 0
