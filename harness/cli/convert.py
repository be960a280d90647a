"""The command ``convert``: an archive or a trace in another format, bit for bit or with declared loss."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from harness import registry
from harness.cli import show
from harness.cli.options import add_max_inflated, typed
from harness.errors import UsageError, unknown_name
from harness.extensions.lossy import request
from harness.extensions.lossy.minimal import MinimalTrace
from harness.extensions.lossy.record import Loss
from harness.formats.archive import archive_size, check_destination, require_outside
from harness.formats.base import PROFILES, Format, Profile, ProfileName, load_format
from harness.formats.conversion import convert
from harness.formats.describing import SlimmingFormat
from harness.formats.profile_file import read_profile_file
from harness.trace.sources import open_trace
from harness.trace.stream import Trace

MODES = ("vanilla", "slim", "minimal")

_MODE_HELP = (
    "vanilla: every tensor under every name in its own dtype; slim: bit for bit, but equal tensors once and values in "
    "fewer bits where those hold them, in formats that can and there the default; minimal: declared lossy, in any "
    "format, within --bound"
)
_BOUND_HELP = (
    "minimal: the largest error of a role, relative for pair and single, absolute for attention; again for each role"
)
_DROP_HELP = (
    "minimal: a tensor to leave out, * for any text; HOW says how it comes back, recorded with it; again for more"
)


def add_convert(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``convert``."""
    parser.add_argument("source", metavar="SRC", help="an archive, or a trace as NAME:key=value,...")
    add_destination(parser)
    parser.add_argument("--mode", metavar="MODE", help=_MODE_HELP)
    parser.add_argument("--bound", action="append", default=[], metavar="ROLE=BOUND", help=_BOUND_HELP)
    parser.add_argument(
        "--top-k",
        metavar="K",
        help=f"minimal: how many of a row's largest attention weights keep their order (default: {request.TOP_K})",
    )
    parser.add_argument("--drop", action="append", default=[], metavar="NAME[=HOW]", help=_DROP_HELP)
    add_max_inflated(parser)
    parser.set_defaults(command=_convert)


def add_destination(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where an archive goes and how it is written."""
    parser.add_argument("destination", type=Path, metavar="DST", help="its suffix chooses the format")
    parser.add_argument(
        "--format", "--backend", type=typed("formats"), metavar="FORMAT",
        help="the format, where the suffix does not say, or MODULE:CLASS for one of your own",
    )  # fmt: skip
    parser.add_argument("--profile", metavar="NAME", help=f"{', '.join(PROFILES)} (default: tuned)")
    parser.add_argument("--profile-file", type=Path, metavar="FILE", help="settings as 'harness tune' writes them")


def _convert(arguments: argparse.Namespace) -> int:
    backend, profile = chosen_format(arguments)
    backend, asked = _mode(arguments, backend)
    check_destination(arguments.destination)
    require_outside(arguments.destination)
    source = open_trace(trace_text(arguments.source))
    trace: Trace = source if asked is None else MinimalTrace(source, asked)
    manifest = convert(trace, backend, arguments.destination, profile, source=None if asked is None else source)
    size, _ = archive_size(arguments.destination)
    against = "" if asked is None else ", and against the source's values within the bounds"
    show.say(
        f"{arguments.destination}: {len(manifest.tensors)} tensors, {size:,} bytes, verified bit for bit{against}."
    )
    if manifest.incomplete is not None:
        show.say(f"It is INCOMPLETE, as {arguments.source} is: {manifest.incomplete}.")
    if manifest.loss is not None:
        show.say(f"{manifest.loss.summary()}. {_errors(manifest.loss)}")
    return 0


def chosen_format(arguments: argparse.Namespace) -> tuple[Format, Profile]:
    """Return the format that ``--format`` or the destination's suffix names, and its settings."""
    backend = load_format(arguments.format) if arguments.format else _by_suffix(arguments.destination)
    return backend, _profile(arguments, backend)


def _profile(arguments: argparse.Namespace, backend: Format) -> Profile:
    """Return the settings that a conversion was asked to write with."""
    if arguments.profile_file is None:
        name = arguments.profile or "tuned"
        if name not in PROFILES:
            raise unknown_name("profile", name, PROFILES)
        return cast(ProfileName, name)
    if arguments.profile is not None:
        raise UsageError("Give --profile or --profile-file, not both: each decides all settings.")
    file = read_profile_file(arguments.profile_file)
    settings = file.of(backend)
    if settings is None:
        made_for = ", ".join(found.format for found in file.settings)
        raise UsageError(f"The profile file {arguments.profile_file} is made for {made_for}, not for {backend.name}.")
    return settings


def trace_text(source: str) -> str:
    """Return what ``--trace`` would say for an archive's path; a trace's name with its parameters stays as it is."""
    is_trace = not Path(source).exists() and source.partition(":")[0] in registry.names("traces")
    return source if is_trace else f"file:{source}"


def _mode(arguments: argparse.Namespace, backend: Format) -> tuple[Format, request.Request | None]:
    """Return the format as the mode sets it, and for minimal what may be given up."""
    mode = arguments.mode
    if mode not in (None, *MODES):
        raise unknown_name("mode", mode, MODES)
    if mode == "minimal":
        return backend, request.parse(arguments.bound, arguments.top_k, arguments.drop)
    for name, given in (("--bound", arguments.bound), ("--top-k", arguments.top_k), ("--drop", arguments.drop)):
        if given:
            raise UsageError(f"{name} gives something up: choose --mode minimal with it, or leave it out.")
    if mode == "slim" and not isinstance(backend, SlimmingFormat):
        raise UsageError(
            f"The format {backend.name!r} stores everything as given and has no --mode slim; choose a slimmed one, or "
            "leave --mode out."
        )
    return backend.of if mode == "vanilla" and isinstance(backend, SlimmingFormat) else backend, None


def _errors(loss: Loss) -> str:
    """Say the largest errors of a record; those of attention are known by their sums."""
    relative = [row.largest_relative_error for row in loss.rounded if row.largest_sum_change is None]
    weights = [row for row in loss.rounded if row.largest_sum_change is not None]
    said = [f"{max(relative):.2g} of a value's size"] if relative else []
    if weights:
        sums = max(row.largest_sum_change or 0.0 for row in weights)
        said.append(f"{max(row.largest_absolute_error for row in weights):.2g} of a weight, {sums:.2g} of a sum")
    return f"Largest errors: {', '.join(said)}; harness inspect shows them tensor by tensor."


def _by_suffix(destination: Path) -> Format:
    # As stated in the source, so that a format which cannot be imported is asked for too, and says why.
    suffixes = {registry.stated("formats", name, "suffix"): name for name in registry.names("formats")}
    fitting = [suffix for suffix in suffixes if suffix and destination.name.endswith(suffix)]
    if not fitting:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in suffixes.items())
        raise UsageError(
            f"The name {destination.name!r} does not say which format to write: end it with {known}, or give --format."
        )
    return load_format(suffixes[max(fitting, key=len)])
