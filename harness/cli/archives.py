"""The commands on archives and what there is: ``list``, ``inspect``, ``verify``, ``convert``, ``fidelity``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from harness import registry
from harness.backends.archive import archive_size, open_archive, remove, verify_archive, write_archive
from harness.backends.archive_trace import open_file
from harness.backends.base import PROFILES, Backend, load_backend
from harness.cli import show
from harness.errors import HarnessError, UsageError, unknown_name
from harness.trace.fidelity import compare
from harness.trace.sources import find_source, open_trace

_WHAT: tuple[registry.Group, ...] = ("backends", "suites", "traces", "models")


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    parser = commands.add_parser("list", help="list backends, suites, traces and models, with what is missing")
    parser.add_argument("what", nargs="?", metavar="WHAT", help=f"{', '.join(_WHAT)} (default: all)")
    parser.set_defaults(command=_list)
    parser = commands.add_parser("inspect", help="show what an archive holds")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE")
    parser.set_defaults(command=_inspect)
    parser = commands.add_parser("verify", help="check every byte of archives")
    parser.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE")
    parser.set_defaults(command=_verify)
    parser = commands.add_parser("convert", help="write an archive or a trace in another format, verified")
    parser.add_argument("source", metavar="SRC", help="an archive, or a trace as NAME:key=value,...")
    parser.add_argument("destination", type=Path, metavar="DST", help="its suffix chooses the format")
    parser.add_argument("--format", metavar="FORMAT", help="the format, where the suffix does not say")
    parser.add_argument("--profile", default="tuned", metavar="NAME", help=f"{', '.join(PROFILES)} (default: tuned)")
    parser.set_defaults(command=_convert)
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
        size, files = archive_size(arguments.archive)
        rows = show.table(str(arguments.archive))
        rows.add_row("format", f"{backend.name}: {backend.description}")
        plural = "s" if files != 1 else ""
        rows.add_row(
            "size", f"{size:,} bytes in {files} file{plural}; {manifest.nbytes / size:.3f} times smaller than in memory"
        )
        facts = {**dataclasses.asdict(manifest.provenance), **dataclasses.asdict(manifest.metadata)}
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
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    code = 0
    for archive in arguments.archives:
        problems = verify_archive(archive)
        for problem in problems:
            print(problem)
        if problems:
            code = 1
        else:
            print(f"{archive}: every byte and every tensor is as it was written.")
    return code


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.profile not in PROFILES:
        raise unknown_name("profile", arguments.profile, PROFILES)
    backend = load_backend(arguments.format) if arguments.format else _by_suffix(arguments.destination)
    path = Path(arguments.source)
    is_trace = not path.exists() and arguments.source.partition(":")[0] in registry.names("traces")
    trace = open_trace(arguments.source) if is_trace else open_file(path)
    manifest = write_archive(trace, backend, arguments.destination, arguments.profile)
    if problems := verify_archive(arguments.destination, backend):
        remove(arguments.destination)
        raise HarnessError(f"The converted archive was not what was written, and was removed: {problems[0]}")
    size, _ = archive_size(arguments.destination)
    count = len(manifest.tensors)
    print(f"{arguments.destination}: {count} tensors, {size:,} bytes, verified bit for bit.")
    return 0


def _by_suffix(destination: Path) -> Backend:
    suffixes: dict[str, str] = {}
    for listed in registry.listing("backends"):
        if listed.plugin is not None:
            suffixes[listed.plugin.suffix] = listed.name
    fitting = [suffix for suffix in suffixes if destination.name.endswith(suffix)]
    if not fitting:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in suffixes.items())
        raise UsageError(
            f"The name {destination.name!r} does not say which format to write: end it with {known}, or give --format."
        )
    return load_backend(suffixes[max(fitting, key=len)])


def _fidelity(arguments: argparse.Namespace) -> int:
    real = {}
    for name, role in (("af2-1ubq", "pair"), ("vit-mnist", "attention")):
        source, _ = find_source(name)
        real[role] = None if source.missing() else open_trace(name)
    rows = compare(open_trace(arguments.trace), real["pair"], real["attention"])
    table = show.table(arguments.trace, "tensor", "statistic", "synthetic", "real", "difference")
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
