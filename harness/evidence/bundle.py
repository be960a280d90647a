"""A bundle: one file with a run's configuration, every sample, all that was published, and a SHA-256 of each file."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NotRequired, TypedDict

import matplotlib
import numpy as np
from matplotlib import ft2font

from harness import zips
from harness.analysis.report_options import find_options
from harness.documents import Digest, decode
from harness.errors import HarnessError, UsageError, cause_of
from harness.files import appearing, plain_name
from harness.limits import LimitError, in_words, inflation_limit
from harness.records import RaceSample, Sample
from harness.report.section import installed
from harness.report.write import Target, core_drawings, write_report
from harness.run.archives import RecordedArchive, read_archives
from harness.run.config import RunConfig

BUNDLE_VERSION = 1
SUFFIX = ".bundle.zip"

MANIFEST = "manifest.json"
MEASURED = ("run.json", "plan.json", "environment.json", "archives.json", "ledger.csv", "samples.csv")
"""Files that the measurement wrote; all others follow from them."""

MEASURED_TOO = {
    RaceSample.file: "how fast candidates were in the races that chose each format's best, in races.csv",
}
"""Measured files that only some runs have, each with what a bundle can only claim about it."""

PUBLISHED = ("summary.csv", "report.json", "report.md", "report.html")
PUBLISHED_TOO = ("scaling.csv", "attribution.csv")

ArchiveKey = tuple[str, int | None, str, str]
"""Trace, length, format and profile of an archive."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of zip files; a fixed one makes equal runs give equal bundles


def measured_too() -> dict[str, str]:
    """Return `MEASURED_TOO`, with the files from which the sections of installed extensions are made."""
    return MEASURED_TOO | {name: claim for one in installed() for name, claim in one.measured.items()}


def tables() -> tuple[str, ...]:
    """Return every name that a published table or page may have."""
    return (*PUBLISHED, *PUBLISHED_TOO, *(name for one in installed() for name in one.published))


def drawings() -> tuple[str, ...]:
    """Return every name that a drawing may have."""
    names = (*core_drawings(), *(name for one in installed() for name in one.drawn))
    return tuple(f"plots/{name}{ending}" for name in names for ending in (".png", ".svg"))


@dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    # Run, versions, the SHA-256 of every file, and a short digest of every row of ``samples.csv``.
    manifest: BundleManifest
    files: dict[str, bytes]  # Content by name within the bundle.
    sha256: str  # SHA-256 of the manifest, which states all others: the one to cite.


def row_digests(samples: bytes) -> list[str]:
    """Return an 8-byte digest, in hexadecimal, of every row of a CSV file, header included, to find changed rows."""
    return [hashlib.blake2b(row, digest_size=8).hexdigest() for row in samples.splitlines()]


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the measured files of a bundle, by name, into a folder, which is created if missing; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*MEASURED, *measured_too()):
        if name in files:
            (folder / name).write_bytes(files[name])
    return folder


@contextmanager
def opened_run(path: Path) -> Iterator[Path]:
    """Yield the folder of a run; unpack it first if it is a bundle.

    Raises
    ------
    UsageError
        If the run does not exist, or lacks a file of `MEASURED`.
    """
    if not path.exists():
        raise UsageError(f"There is no {path}: name the folder of a run, or a bundle of one.")
    with tempfile.TemporaryDirectory(prefix="harness-bundle-") as scratch:
        folder = path if path.is_dir() else unpack(read_bundle(path).files, Path(scratch))
        if lost := [name for name in MEASURED if not (folder / name).is_file()]:
            raise UsageError(f"{path} has no {lost[0]}, which every run has: make the run, or the bundle, again.")
        yield folder


def archives_of(folder: Path) -> dict[ArchiveKey, list[RecordedArchive]]:
    """Return the archives that a run recorded, by their key: one each, unless a record is duplicated."""
    found: dict[ArchiveKey, list[RecordedArchive]] = {}
    for subject in read_archives(folder / "archives.json"):
        for archive in subject["archives"]:
            key = (subject["trace"], subject["n_res"], archive["format"], archive["profile"])
            found.setdefault(key, []).append(archive)
    return found


def write_bundle(folder: Path, destination: Path) -> Bundle:
    """Pack a run with all that follows from it, which is computed again; the run's folder is not changed.

    Parameters
    ----------
    folder : Path
        The run's folder.
    destination : Path
        The bundle; replaced only by a complete one.

    Returns
    -------
    Bundle
        The written bundle.

    Raises
    ------
    HarnessError
        If the run lacks something that a check needs, or gives no report.
    """
    config = RunConfig.read(folder / "run.json")
    with opened_run(folder):
        files = {n: (folder / n).read_bytes() for n in (*MEASURED, *measured_too()) if (folder / n).is_file()}
    with tempfile.TemporaryDirectory(prefix="harness-bundle-") as scratch:
        made, run = Path(scratch), unpack(files, Path(scratch) / "run")
        write_report(run, find_options(folder), target=Target(made))
        files |= {n: (made / n).read_bytes() for n in (*tables(), *drawings()) if (made / n).is_file()}
    bundle = _bundle(config.run_id, files, drawn_with=drawing_versions())
    text = _text(bundle.manifest)
    top = plain_name(folder.resolve().name)
    try:
        with appearing(destination) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in {MANIFEST: text, **files}.items():
                file.writestr(zipfile.ZipInfo(f"{top}/{name}", _EPOCH), data, zipfile.ZIP_DEFLATED, 9)
    except OSError as error:
        raise UsageError(f"{destination} cannot be written ({error.strerror}): choose another --out.") from error
    return bundle


def folder_bundle(folder: Path) -> Bundle:
    """Return a bundle of a run's folder with its published files as they are, so that they can be checked.

    Raises
    ------
    HarnessError
        If the folder holds no run, or lacks a file of `MEASURED`.
    """
    with opened_run(folder):
        config = RunConfig.read(folder / "run.json")
        names = (*MEASURED, *measured_too(), *tables(), *drawings())
        files = {n: (folder / n).read_bytes() for n in names if (folder / n).is_file()}
    return _bundle(config.run_id, files, drawn_with={})


def _bundle(run_id: str, files: dict[str, bytes], *, drawn_with: dict[str, str]) -> Bundle:
    """Return a bundle of files, with a manifest of their digests."""
    manifest: BundleManifest = {
        "bundle_version": BUNDLE_VERSION,
        "run_id": run_id,
        "drawn_with": drawn_with,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "sample_rows": row_digests(files["samples.csv"]),
    }
    return Bundle(manifest, files, hashlib.sha256(_text(manifest)).hexdigest())


def _text(manifest: BundleManifest) -> bytes:
    return (json.dumps(manifest, indent=1) + "\n").encode()


def read_bundle(path: Path) -> Bundle:
    """Read a bundle into memory, without trusting its content.

    Raises
    ------
    HarnessError
        If it is not a bundle, cannot be read to its end, or is of a version that this reader does not know.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: pack it with 'harness bundle {path}' first, and check what that writes.")
    try:
        with zips.open_zip(path) as file:
            parts = _members(path, file)
    except FileNotFoundError as error:
        raise UsageError(f"There is no {path}: 'harness bundle RUN' writes one.") from error
    except (*zips.DAMAGE, OSError) as error:
        if cause_of(error):
            raise
        raise HarnessError(f"{path} is not a complete bundle: {str(error).rstrip('.')}.") from error
    tops = {part.parts[0] for part in parts if len(part.parts) > 1}
    if len(tops) != 1 or any(".." in part.parts or part.is_absolute() or len(part.parts) < 2 for part in parts):
        raise HarnessError(f"{path} is not a bundle: its files are not in one folder.")
    files = {PurePosixPath(*part.parts[1:]).as_posix(): data for part, data in parts.items()}
    # An untrusted name is only compared with these, and never used as a path.
    if strange := sorted(set(files) - {MANIFEST, *MEASURED, *measured_too(), *tables(), *drawings()}):
        raise HarnessError(
            f"{path} is not a bundle of this harness: it holds {strange[0]!r}, which no run has; if an extension "
            "that is not installed here made it, install that."
        )
    text = files.pop(MANIFEST, b"")
    manifest = _manifest(path, text)
    return Bundle(manifest, files, hashlib.sha256(text).hexdigest())


def _members(path: Path, file: zipfile.ZipFile) -> dict[PurePosixPath, bytes]:
    """Read every file of a bundle, up to a limit of their total size."""
    infos = [info for info in file.infolist() if not info.is_dir()]
    size, limit = sum(info.file_size for info in infos), inflation_limit(path.stat().st_size)
    if size > limit:
        raise LimitError(
            f"{path} inflates to {in_words(size)}, more than {in_words(limit)}; if you trust it, raise --max-inflated."
        )
    names = [PurePosixPath(info.filename) for info in infos]
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise HarnessError(f"{path} is not a bundle: it holds {str(doubled[0])!r} more than once.")
    return {name: zips.read_member(file, info, limit) for name, info in zip(names, infos, strict=True)}


class BundleManifest(TypedDict):
    """Manifest of a bundle: digests of its files, and of every row of its samples."""

    bundle_version: int
    run_id: str
    drawn_with: NotRequired[dict[str, str]]
    sha256: dict[str, Digest]
    sample_rows: list[Digest]


def _manifest(path: Path, text: bytes) -> BundleManifest:
    where = f"{path} is not a bundle: {MANIFEST}"
    return decode(text, BundleManifest, where, version=("bundle_version", BUNDLE_VERSION), mend="pack the run again")


def drawing_versions() -> dict[str, str]:
    """Return the versions of the libraries that determine every byte of a drawing."""
    freetype = str(getattr(ft2font, "__freetype_version__", ""))
    return {"matplotlib": matplotlib.__version__, "numpy": np.__version__, "freetype": freetype}


def changes(bundle: Bundle) -> list[str]:
    """Return how files differ from the manifest, in words, with the changed rows of ``samples.csv``."""
    stated = bundle.manifest["sha256"]
    problems = [f"{name} is missing" for name in stated if name not in bundle.files]
    for name, data in sorted(bundle.files.items()):
        if name not in stated:
            problems.append(f"{name} is not in the manifest")
        elif hashlib.sha256(data).hexdigest() != stated[name]:
            problems += [f"{name} was changed after packing", *(_changed_rows(bundle) if name == Sample.file else ())]
    return problems


def _changed_rows(bundle: Bundle) -> Iterator[str]:
    stated, lines = bundle.manifest["sample_rows"], bundle.files[Sample.file].splitlines()
    if len(stated) != len(lines):
        yield f"{Sample.file} has {len(lines) - 1} rows, {len(stated) - 1} were packed"
        return
    for number, (before, now) in enumerate(zip(stated, row_digests(bundle.files[Sample.file]), strict=True)):
        if before != now:
            name = " ".join(part for part in lines[number].decode("utf-8", "replace").split(",")[1:12] if part)
            yield f"{Sample.file}, row {number}: {name} is not the sample that was packed"
