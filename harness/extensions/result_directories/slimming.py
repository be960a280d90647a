"""Slim a result directory: check what was asked, find what may be touched, and work on it file by file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from harness.errors import UsageError, unknown_name
from harness.extensions.result_directories.disk import clear_partials, disk_is_whole, locked
from harness.extensions.result_directories.manifest import Mode, Plain, SlimManifest, inside, load_manifest
from harness.extensions.result_directories.outcome import SlimOutcome
from harness.extensions.result_directories.recognise import recognise
from harness.extensions.result_directories.steps import Run

MODES: tuple[Mode, ...] = ("slim", "minimal")
PLAIN: tuple[Plain, ...] = ("best", "none")


def slim(
    folder: Path,
    mode: Mode,
    *,
    bound: float | None = None,
    plain: Plain = "best",
    dry_run: bool = False,
) -> SlimOutcome:
    """Slim a result directory.

    Parameters
    ----------
    folder : Path
        The directory of one job.
    mode : {"slim", "minimal"}
        Lossless by bytes, or declared lossy.
    bound : float, optional
        For minimal: the largest error of a predicted error, in Angstrom.
    plain : {"best", "none"}
        Best: tools go on reading what they read, the best prediction's JSON and all AF2 errors as they are. None: the
        smallest files, which tools cannot read before the directory is restored.
    dry_run : bool
        Do everything but write.

    Returns
    -------
    SlimOutcome
        File by file.

    Raises
    ------
    UsageError
        When the directory is of neither program, is slimmed in another mode, or the options do not fit.
    HarnessError
        When its ranking or manifest is damaged or newer, or the disk is full; every original is whole then.
    """
    _check_options(mode, bound, plain)
    if not folder.is_dir():
        raise UsageError(f"There is no directory {folder}.")
    with disk_is_whole(folder), locked(folder):
        manifest = load_manifest(folder)
        if manifest is not None:
            _check_same(folder, manifest, mode, bound, plain)
        found = recognise(folder, plain, manifest.kind if manifest else "")
        manifest = manifest or SlimManifest(found.kind, mode, bound, plain)
        manifest = dataclasses.replace(manifest, kind=found.kind, best=found.best)
        run = Run(folder, manifest, dry_run)
        if not dry_run:
            names = [item.path for item in found.items] + list(manifest.items)
            clear_partials({folder, *(inside(folder, name).parent for name in names)})
        for item in found.items:
            run.work_on(item)
        run.note_what_stays(found)
        return SlimOutcome(
            found.kind, tuple(sorted(run.rows, key=lambda row: row.path)), tuple(run.problems), run.changed
        )


def _check_options(mode: str, bound: float | None, plain: str) -> None:
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if plain not in PLAIN:
        raise unknown_name("choice for --plain", plain, PLAIN)
    if mode == "slim" and bound is not None:
        raise UsageError("--mode slim loses nothing and takes no --bound; leave it out, or choose --mode minimal.")
    if mode == "minimal" and bound is None:
        raise UsageError(
            "--mode minimal gives up precision and needs --bound, the largest error in Angstrom that a predicted "
            "aligned error may get, such as --bound 0.05."
        )
    if bound is not None:
        parse_bound(bound, "--bound")


def parse_bound(text: str | float, option: str) -> float:
    """Read a bound, in Angstrom.

    Raises
    ------
    UsageError
        When it is no number, or none that errors can be bound by; it names the option.
    """
    try:
        bound = float(text)
    except ValueError:
        raise UsageError(f"{option} has to be a number of Angstrom, not {text!r}.") from None
    if not (math.isfinite(bound) and 1e-6 <= bound <= 100):
        raise UsageError(f"{option} has to be a number of Angstrom from 0.000001 to 100, not {bound:g}.")
    return bound


def _check_same(folder: Path, manifest: SlimManifest, mode: Mode, bound: float | None, plain: Plain) -> None:
    if (manifest.mode, manifest.bound) != (mode, bound):
        done = manifest.mode + (f" with --bound {manifest.bound:g}" if manifest.bound is not None else "")
        way = f"run harness unslim {folder} first" if manifest.mode == "slim" else "what it gave up does not come back"
        raise UsageError(f"{folder} is slimmed already, in mode {done}; {way}.")
    if manifest.plain != plain:
        raise UsageError(
            f"{folder} is slimmed already, with --plain {manifest.plain}; run harness unslim {folder} first."
        )
