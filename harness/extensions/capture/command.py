"""The command ``capture``: run a model and write its trace while it computes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import cast

from harness import registry
from harness.cli import terminal
from harness.cli.options import add_output, integers, names, typed
from harness.cli.parser import examples
from harness.errors import HarnessError, UsageError
from harness.extensions.capture.complex_query import read_complex
from harness.extensions.capture.inputs import read_query
from harness.extensions.capture.models import ModelKind
from harness.extensions.capture.plan import CaptureSettings, Selection
from harness.extensions.capture.session import BUFFERED_LAYERS, Destination, PreparedModel, record
from harness.formats.archive import archive_size, check_destination, remove, require_outside, verify_archive
from harness.formats.base import PROFILES, blame, load_format
from harness.formats.recovery import incomplete_path, what_is_kept
from harness.formats.settings import profile_of
from harness.trace.manifest import Manifest
from harness.trace.schema import MOST_TENSORS
from harness.trace.stream import shown_label

_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)


def add_capture(parser: argparse.ArgumentParser) -> None:
    """Run a model on a sequence and write its trace while it computes."""
    parser.epilog = examples(
        "capture --model antiberty --fasta query.fasta --to npz:t.npz",
        "capture --model openfold3 --fasta query.fasta --to hdf5:t.h5",
    )
    add = parser.add_argument_group("the model").add_argument
    add("--model", type=typed("models"), required=True, metavar="NAME", help="a model of 'harness list models'")
    add("--source", type=Path, metavar="DIR", help="a checkout of the model's code, for a model that needs one "
        "(default: an installed package)")  # fmt: skip
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--fasta", type=Path, metavar="FILE", help="one protein chain (default: --query)")
    given.add_argument("--query", type=Path, metavar="FILE", help="a complex, as OpenFold3's query (default: --fasta)")
    add("--alignments", type=Path, metavar="DIR", help="folder of its .a3m files (default: the sequence alone)")
    weights = "weights (default: those of the package, or random, untrained ones)"
    add("--checkpoint", type=Path, metavar="FILE", help=weights)
    add("--blocks", metavar="N", help="blocks of the trunk (default: the model's own number)")
    add("--recycles", metavar="N", help="passes after the first (default: 3, or none if the model has none)")
    add("--msa-depth", default="128", metavar="N", help="number of rows of the alignment to use")
    kept = parser.add_argument_group("what to keep").add_argument
    kept("--attention", metavar="A,B", help="kinds of attention to keep, or none (default: all that the model has)")
    maps = "maps of a triangle attention to keep: residues counted from 0, mean, or all"
    kept("--triangle-residue", default="mean", metavar="A,B", help=maps)
    kept("--layers", metavar="A,B-C", help="blocks to keep, counted from 0 (default: all)")
    kept("--keep-steps", metavar="A,B-C", help="diffusion steps to keep of a complex, from 0 (default: all)")
    kept("--diffusion-layers", metavar="A,B-C", help="layers of the diffusion to keep of a complex (default: all)")
    add("--samples", default="1", metavar="N", help="samples of a complex for each seed (default: 1)")
    add("--seeds", metavar="A,B", help="run the model on a complex once for each (default: those of the query)")
    add("--steps", metavar="N", help="diffusion steps, for models that have them (default: the model's own number)")
    add("--device", default="cpu", metavar="NAME", help="device, as named by torch")
    add("--seed", default="0", metavar="N", help="seed of random weights and of the model")
    add = parser.add_argument_group("output").add_argument
    add("--to", action="append", required=True, metavar="FORMAT:PATH", help="an archive to write; repeatable")
    add(
        "--profile",
        default="tuned",
        metavar="NAME",
        help=f"settings of the formats: {', '.join(PROFILES)}, or named ones of a format, such as fast of zarr-slim",
    )
    held = "largest number of layers in memory that are not written yet"
    add("--buffer", default=str(BUFFERED_LAYERS), metavar="N", help=held)
    add_output(parser, quiet="errors", verbose=True)
    parser.set_defaults(command=_capture)


def _capture(arguments: argparse.Namespace) -> int:
    (buffered,) = integers(arguments.buffer, "--buffer", single=True)
    destinations = _destinations(arguments.to)
    for destination in destinations:
        profile_of(destination.backend, arguments.profile)
    kind = _model(arguments)
    settings = _settings(arguments, kind)
    model = _ready(arguments, kind, settings)
    manifest, layers = model.manifest, len(settings.kept_layers)
    length = f"{manifest.length} {'tokens' if manifest.chains else 'residues'}"
    terminal.say(
        f"{shown_label(kind.name, manifest)}: {length}, {layers} of {settings.blocks} blocks, "
        f"{settings.recycles + 1} passes, {len(manifest.tensors)} tensors, {manifest.nbytes:,} bytes.",
        quiet=arguments.quiet,
    )
    with terminal.progress(quiet=arguments.quiet, verbose=arguments.verbose) as progress:
        progress.total(len(model.manifest.tensors))
        try:
            manifests = record(
                model, destinations, label=kind.name, layers=buffered, profile=arguments.profile, written=progress.step
            )
        except BaseException:
            for destination in destinations:
                incomplete = incomplete_path(destination.path)
                if incomplete.exists() and (kept := what_is_kept(incomplete)):
                    terminal.complain(kept)
            raise
    for destination, manifest in zip(destinations, manifests, strict=True):
        _verify(destination, manifest, quiet=arguments.quiet)
    return 0


def _ready(arguments: argparse.Namespace, kind: ModelKind, settings: CaptureSettings) -> PreparedModel:
    """Read the query and prepare the model for it."""
    if arguments.query is None:
        if settings.samples > 1 or settings.seeds or settings.kept_steps or settings.diffusion_layers:
            raise UsageError("--samples, --seeds, --keep-steps and --diffusion-layers are for a complex: give --query.")
        query = read_query(arguments.fasta, arguments.alignments)
        with blame(kind.name, "getting ready"):
            return kind.open(settings, query)
    if arguments.alignments is not None:
        raise UsageError("--alignments is for one chain: leave it out with --query.")
    complex_query = read_complex(arguments.query)
    with blame(kind.name, "getting ready"):
        return kind.open_complex(settings, complex_query)


def _verify(destination: Destination, manifest: Manifest, *, quiet: bool) -> None:
    if problems := verify_archive(destination.path, destination.backend, own=True):
        remove(destination.path)
        raise HarnessError(f"The archive differs from the output of the model, and was removed: {problems[0]}")
    size, _ = archive_size(destination.path)
    text = f"{len(manifest.tensors)} tensors, {size:,} bytes, bit for bit what the model gave."
    terminal.say(f"{shown_label(str(destination.path), manifest)}: {text}", quiet=quiet)


def _destinations(texts: list[str]) -> list[Destination]:
    found: list[Destination] = []
    for text in texts:
        name, colon, path = text.partition(":")
        if not colon or not name or not path:
            raise UsageError(f"--to takes FORMAT:PATH, such as hdf5:trace.h5, got {text!r}.")
        destination = Destination(load_format(name), Path(path))
        check_destination(destination.path)
        require_outside(destination.path)
        if any(destination.path.resolve() == other.path.resolve() for other in found):
            raise UsageError(f"--to names {destination.path} twice; give every format a name of its own.")
        found.append(destination)
    return found


def _model(arguments: argparse.Namespace) -> ModelKind:
    kind = registry.load("models", arguments.model)
    if not isinstance(kind, ModelKind):
        raise UsageError(
            f"{arguments.model!r} is not a model: it has to be a harness.extensions.capture.models.ModelKind."
        )
    what = f"The model {kind.name!r}"
    if missing := kind.missing():
        raise UsageError(f"{what} {missing}.")
    if kind.sourced and arguments.source is None:
        raise UsageError(f"{what} is run from a checkout of its code: name it with --source DIR.")
    if not kind.sourced and arguments.source is not None:
        raise UsageError(f"{what} is an installed package: leave out --source.")
    if not kind.diffuses and arguments.steps is not None:
        raise UsageError(f"{what} has no diffusion: leave out --steps.")
    return kind


def _settings(arguments: argparse.Namespace, kind: ModelKind) -> CaptureSettings:
    def number(name: str, least: int = 1) -> int:
        return integers(getattr(arguments, name), f"--{name.replace('_', '-')}", single=True, least=least)[0]

    chosen = kind.attention if arguments.attention is None else names(arguments.attention, "kind of attention")
    return CaptureSettings(
        blocks=kind.blocks if arguments.blocks is None else number("blocks"),
        recycles=kind.recycles if arguments.recycles is None else number("recycles", 0),
        msa_depth=number("msa_depth"),
        attention=() if chosen == ("none",) else chosen,
        triangle=_selections(arguments.triangle_residue),
        layers=_numbers(arguments.layers, "--layers"),
        device=arguments.device,
        seed=number("seed", 0),
        source=arguments.source,
        checkpoint=arguments.checkpoint,
        steps=None if arguments.steps is None else number("steps"),
        samples=number("samples"),
        seeds=_numbers(arguments.seeds, "--seeds"),
        kept_steps=_numbers(arguments.keep_steps, "--keep-steps"),
        diffusion_layers=_numbers(arguments.diffusion_layers, "--diffusion-layers"),
    )


def _selections(text: str) -> tuple[Selection, ...]:
    found: list[Selection] = []
    for part in names(text, "residue"):
        if part not in ("mean", "all") and not part.isdecimal():
            raise UsageError(f"--triangle-residue takes residues counted from 0, mean or all, got {part!r}.")
        found.append(int(part) if part.isdecimal() else cast(Selection, part))
    return tuple(dict.fromkeys(found))


def _numbers(text: str | None, option: str) -> tuple[int, ...]:
    """Parse numbers and ranges, in ascending order; empty for None. Ranges are counted before they are expanded."""
    ranges: list[range] = []
    for part in names(text, "number"):
        match = _RANGE.fullmatch(part)
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not numbers:
            raise UsageError(f"{option} takes numbers and ranges such as 0,4-7, got {part[:80]!r}.")
        ranges.append(numbers)
    if (count := sum(each.stop - each.start for each in ranges)) > MOST_TENSORS:  # len() fails for larger numbers
        raise UsageError(f"{option} takes up to {MOST_TENSORS:,} numbers, got {count:,}.")
    return tuple(sorted({number for each in ranges for number in each}))
