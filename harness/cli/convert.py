"""The command ``convert``: write an archive or a trace in another format, bit for bit or with declared loss."""

from __future__ import annotations

import argparse
from copy import copy
from functools import partial
from pathlib import Path

from harness import registry
from harness.cli import terminal
from harness.cli.options import add_max_inflated, add_output, names, typed
from harness.cli.parser import examples
from harness.cli.source_options import add_taking, file_text
from harness.errors import UsageError, unknown_name
from harness.formats.archive import archive_size, check_destination, require_outside
from harness.formats.base import PROFILES, Format, Profile
from harness.formats.conversion import Mode, convert, convert_in_place
from harness.formats.describing import SlimmingFormat
from harness.formats.placing import chosen_by_name
from harness.formats.profile_file import read_profile_file
from harness.formats.settings import profile_of
from harness.limits import archive_limit
from harness.slimming.slimmer import fits
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace

_MODE_HELP = (
    "vanilla: every tensor under every name, in its own dtype; slim: lossless, equal tensors once and values in fewer "
    "bits, the default of formats that support it"
)


def add_convert(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``convert``."""
    parser.epilog = examples(
        "convert result.npz trace.h5",
        "convert trace.h5 trace.slim.zarr --plain 'pair/*'",
        "convert trace.slim.zarr --in-place --profile cold",
    )
    source = "an archive, a file or folder of arrays, or a trace as NAME:key=value,..."
    parser.add_argument("source", metavar="SRC", help=source)
    parser.add_argument("destination", type=Path, nargs="?", metavar="DST", help="its suffix chooses the format")
    parser.add_argument(
        "--in-place", action="store_true", help="instead of DST: give the archive SRC other settings of its format, "
        "such as --profile cold; nothing is lost if it is killed at any moment",
    )  # fmt: skip
    group = parser.add_argument_group("storage")
    group.add_argument(
        "--format", "--backend", type=typed("formats"), metavar="FORMAT",
        help="the format, or MODULE:CLASS for one of your own (default: by the suffix)",
    )  # fmt: skip
    own = "or named settings of the format, such as fast, portable or cold of zarr-slim (default: tuned)"
    group.add_argument("--profile", metavar="NAME", help=f"{', '.join(PROFILES)}, {own}")
    settings = "settings written by 'harness tune' (default: those of the profile)"
    group.add_argument("--profile-file", type=Path, metavar="FILE", help=settings)
    modes: list[Mode] = registry.usable("modes")
    said = "; ".join((_MODE_HELP, *(f"{mode.name}: {mode.help}" for mode in modes)))
    group.add_argument("--mode", metavar="MODE", help=said)
    for mode in modes:
        mode.add_arguments(group)
    group.add_argument(
        "--plain", metavar="PATHS",
        help="for slimmed formats: tensors to store unchanged under their own names, for readers that do not support "
        "slimming; patterns separated by commas, such as 'pair/*,outputs/*' (default: none)",
    )  # fmt: skip
    add_taking(parser)
    add_max_inflated(parser)
    add_output(parser, quiet="warnings and errors")
    parser.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.in_place:
        return _in_place(arguments)
    if arguments.destination is None:
        raise UsageError("Name a destination, whose suffix chooses the format, or give --in-place.")
    backend, profile = _chosen_format(arguments)
    mode = _mode(arguments)
    change = mode.change(arguments) if mode else None
    if arguments.mode == "slim" and not isinstance(backend, SlimmingFormat):
        raise UsageError(
            f"The format {backend.name!r} stores everything as given and has no --mode slim; choose a slimmed one, or "
            "leave --mode out."
        )
    if arguments.mode == "vanilla" and isinstance(backend, SlimmingFormat):
        backend = backend.of
    check_destination(arguments.destination)
    require_outside(arguments.destination)
    source = open_trace(source_text(arguments.source, arguments)).identified()
    trace, check = (source, None) if change is None else change(source)
    if patterns := names(arguments.plain, "pattern"):
        backend = _plainly(backend, trace.manifest, patterns)
    with terminal.busy(f"writing and verifying {arguments.destination}", quiet=arguments.quiet):
        manifest = convert(trace, backend, arguments.destination, profile, check=check)
    size, _ = archive_size(arguments.destination)
    against = f", and {mode.checked}" if mode else ""
    terminal.say(
        f"{arguments.destination}: {len(manifest.tensors)} tensors, {size:,} bytes, verified bit for bit{against}.",
        quiet=arguments.quiet,
    )
    if manifest.nbytes > archive_limit(size):
        terminal.say(f"It is far smaller than its values: to read it, give --max-inflated {manifest.nbytes}.")
    provenance = manifest.provenance
    if provenance.importer and provenance.files:
        terminal.say(f"Imported by {provenance.importer}, from {len(provenance.files)} file(s).", quiet=arguments.quiet)
        terminal.say(f"Note: {terminal.cut(provenance.note or '')}.", quiet=arguments.quiet or not provenance.note)
    if manifest.incomplete is not None:
        terminal.say(f"It is INCOMPLETE, as {arguments.source} is: {manifest.incomplete}.")
    if manifest.loss is not None:
        terminal.say(f"{manifest.loss.summary()}. {manifest.loss.errors()}")
    return 0


def _in_place(arguments: argparse.Namespace) -> int:
    given = ("destination", "format", "mode", "profile_file")
    if other := next((name for name in given if getattr(arguments, name) is not None), None):
        said = "a destination" if other == "destination" else f"--{other.replace('_', '-')}"
        raise UsageError(
            f"--in-place keeps name, format and values, and goes without {said}: leave one of the two out."
        )
    archive = Path(arguments.source)
    if not archive.exists():
        raise UsageError(f"--in-place takes an archive, and there is no {archive}.")
    before = archive_size(archive)[0]
    with terminal.busy(f"writing {archive} anew and verifying it", quiet=arguments.quiet):
        patterns = names(arguments.plain, "pattern")
        change = partial(_plainly, patterns=patterns) if patterns else None
        manifest = convert_in_place(archive, arguments.profile or "tuned", change)
    size, _ = archive_size(archive)
    terminal.say(
        f"{archive}: {len(manifest.tensors)} tensors, {before:,} bytes before, {size:,} now, verified bit for bit.",
        quiet=arguments.quiet,
    )
    return 0


def _plainly(backend: Format, manifest: Manifest, patterns: tuple[str, ...]) -> Format:
    """Return a copy of a slimmed format that stores the tensors matching one of the patterns unchanged."""
    if not isinstance(backend, SlimmingFormat):
        said = f"--plain is about slimmed formats, and {backend.name!r} stores everything as given: leave it out."
        raise UsageError(said)
    paths = [spec.path for spec in manifest.tensors]
    for pattern in patterns:
        if not any(fits(path, (pattern,)) for path in paths):
            raise unknown_name("tensor", pattern, {f"{path.partition('/')[0]}/*" for path in paths})
    found = copy(backend)
    found.plain = patterns
    return found


def _chosen_format(arguments: argparse.Namespace) -> tuple[Format, Profile]:
    """Return the format that ``--format`` or the destination's suffix names, and its settings."""
    backend = chosen_by_name(arguments.destination, arguments.format, "give --format")
    if arguments.profile_file is None:
        return backend, profile_of(backend, arguments.profile or "tuned")
    if arguments.profile is not None:
        raise UsageError("Give --profile or --profile-file, not both: each decides all settings.")
    file = read_profile_file(arguments.profile_file)
    settings = file.of(backend)
    if settings is None:
        made_for = ", ".join(found.format for found in file.settings)
        raise UsageError(f"The profile file {arguments.profile_file} is made for {made_for}, not for {backend.name}.")
    return backend, settings


def source_text(source: str, arguments: argparse.Namespace) -> str:
    """Return the value of ``--trace`` for a path; return a trace's name with its parameters unchanged."""
    is_trace = not Path(source).exists() and source.partition(":")[0] in registry.names("traces")
    return source if is_trace else file_text([source], arguments)


def _mode(arguments: argparse.Namespace) -> Mode | None:
    """Return the chosen mode if it is of an extension, else None; raise UsageError for options of another mode."""
    modes: dict[str, Mode] = {mode.name: mode for mode in registry.usable("modes")}
    if arguments.mode not in (None, "vanilla", "slim", *modes):
        raise unknown_name("mode", arguments.mode, ("vanilla", "slim", *modes))
    for name, mode in modes.items():
        given = [option for option in mode.options if getattr(arguments, option[2:].replace("-", "_"))]
        if given and name != arguments.mode:
            raise UsageError(f"{given[0]} is an option of --mode {name}: choose that with it, or leave it out.")
    return modes.get(arguments.mode)
