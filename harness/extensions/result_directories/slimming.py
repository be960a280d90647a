"""Slimming of a result directory: check the options, find the files that may be changed, and slim them one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError, unknown_name
from harness.extensions.result_directories.disk import changing, clear_partials
from harness.extensions.result_directories.manifest import Kind, Mode, Plain, SlimManifest, load_manifest
from harness.extensions.result_directories.programs import recognise
from harness.extensions.result_directories.steps import FileRow, Reader, SlimRun

MODES: tuple[Mode, ...] = ("slim", "minimal")
PLAIN: tuple[Plain, ...] = ("best", "none")


@dataclass(frozen=True)
class SlimOutcome:
    """Result of slimming or restoring a directory, or of a dry run."""

    kind: Kind  # Program that wrote the directory.
    rows: tuple[FileRow, ...]  # One for each file of the directory.
    problems: tuple[str, ...]  # One sentence for each file that stays unchanged because of a problem.
    changed: int  # Number of files that changed, or would; 0 for a directory that was slimmed before.

    @property
    def before(self) -> int:
        """Bytes before."""
        return sum(row.before for row in self.rows)

    @property
    def after(self) -> int:
        """Bytes after."""
        return sum(row.after for row in self.rows)

    @property
    def files(self) -> int:
        """Number of files before."""
        return sum(row.fate != "manifest" for row in self.rows)

    def read_by(self, reader: Reader) -> tuple[str, ...]:
        """Return the names of the files that need this reader."""
        return tuple(row.path for row in self.rows if row.reader == reader)

    @property
    def large_others(self) -> tuple[FileRow, ...]:
        """Files that slimming does not touch and that take more than a hundredth of all bytes, the largest first."""
        large = [row for row in self.rows if row.fate == "other" and 100 * row.before > self.before]
        return tuple(sorted(large, key=lambda row: -row.before))


def slim(
    folder: Path, mode: Mode, *, bound: float | None = None, plain: Plain = "best", dry_run: bool = False
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
        "best": tools can still read their files, and the best prediction's JSON and all AF2 errors stay unchanged.
        "none": the smallest files, which tools cannot read before the directory is restored.
    dry_run : bool
        Do everything except writing.

    Returns
    -------
    SlimOutcome
        With a row for each file.

    Raises
    ------
    UsageError
        If the directory is of no known program, is slimmed in another mode, or the options do not fit.
    HarnessError
        If its ranking or manifest is damaged or newer, or the disk is full; every original is complete then.
    """
    _check_options(mode, bound, plain)
    with changing(folder):
        manifest = load_manifest(folder)
        if manifest is not None:
            _check_same(folder, manifest, mode, bound, plain)
        found = recognise(folder, plain, manifest.kind if manifest else "")
        manifest = manifest or SlimManifest(found.kind, mode, bound, plain)
        manifest.best = found.best
        run = SlimRun(folder, manifest, dry_run)
        if not dry_run:
            clear_partials(folder)
        for item in found.items:
            run.work_on(item)
        rows = run.end(found.stays)
        return SlimOutcome(found.kind, rows, tuple(run.problems), run.changed)


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
    """Parse a bound in Angstrom.

    Raises
    ------
    UsageError
        If it is no number, or not from 1e-6 to 100; the message names the option.
    """
    try:
        bound = float(text)
    except ValueError:
        raise UsageError(f"{option} has to be a number of Angstrom, not {text!r}.") from None
    if not (math.isfinite(bound) and 1e-6 <= bound <= 100):
        raise UsageError(f"{option} has to be a number of Angstrom from 0.000001 to 100, not {bound:g}.")
    return bound


def _check_same(folder: Path, manifest: SlimManifest, mode: Mode, bound: float | None, plain: Plain) -> None:
    first = f"run harness unslim {folder} first"
    if (manifest.mode, manifest.bound) != (mode, bound):
        done = manifest.mode + (f" with --bound {manifest.bound:g}" if manifest.bound is not None else "")
        way = first if manifest.mode == "slim" else "what it gave up does not come back"
        raise UsageError(f"{folder} is slimmed already, in mode {done}; {way}.")
    if manifest.plain != plain:
        raise UsageError(f"{folder} is slimmed already, with --plain {manifest.plain}; {first}.")
