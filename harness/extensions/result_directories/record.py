"""``directories.json``: every file of each result directory in each mode, and the counts of values read from it."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

from harness.documents import Count, Digest, Figure, read_document
from harness.errors import HarnessError
from harness.extensions.result_directories.manifest import KINDS, Kind
from harness.extensions.result_directories.run_options import VANILLA
from harness.run.entry_file import EntryFile

DIRECTORIES_VERSION = 1
DIRECTORIES = "directories.json"


class RecordedFile(TypedDict):
    """A file of a result directory."""

    size: Count
    sha256: Digest


class RecordedMode(TypedDict):
    """A result directory in a mode: every file by path; for slimmed ones also files restored and values read."""

    contents: dict[str, RecordedFile]
    bound: NotRequired[Figure | None]
    files_restored: NotRequired[Count]
    files_given_up: NotRequired[list[str]]
    files_need_unslim: NotRequired[list[str]]
    values_compared: NotRequired[Count]
    values_same: NotRequired[Count]
    values_dropped: NotRequired[Count]
    largest_error: NotRequired[Figure | None]


class RecordedDirectory(TypedDict):
    """A result directory: its name, its program, and its modes."""

    directory: str
    kind: str
    program: str
    modes: dict[str, RecordedMode]


class _Directories(TypedDict):
    directories: list[RecordedDirectory]


class DirectoryRecord:
    """Writer of the file, which rewrites it with every mode of a directory.

    Parameters
    ----------
    path : Path
        The file; entries of an earlier session of the run are kept.
    """

    def __init__(self, path: Path) -> None:
        self._file = EntryFile(path, {"directories_version": DIRECTORIES_VERSION}, "directories", read_directories)

    def add(self, label: str, kind: Kind, mode: str, before: dict[str, RecordedFile], facts: RecordedMode) -> None:
        """Record a directory in a mode.

        Parameters
        ----------
        label, kind : str
            The directory, and its program.
        mode : str
            One of `DIRECTORY_MODES`; the directory as written comes first.
        before : dict of str to RecordedFile
            Its files as written.
        facts : RecordedMode
            Its files in this mode, and counts of restored files and read values.

        Raises
        ------
        HarnessError
            If the directory has changed since it was recorded as written.
        """
        if not any(each["directory"] == label for each in self._file.entries):
            self._file.entries.append({"directory": label, "kind": kind, "program": KINDS[kind], "modes": {}})
        found = next(each for each in self._file.entries if each["directory"] == label)
        if VANILLA in found["modes"] and found["modes"][VANILLA]["contents"] != before:
            raise HarnessError("the directory changed while it was measured")
        found["modes"][mode] = facts
        self._file.write()


def total(mode: RecordedMode) -> tuple[int, int]:
    """Return the bytes and the number of files of a directory in a mode."""
    files = mode["contents"].values()
    return sum(file["size"] for file in files), len(files)


def read_directories(path: Path) -> list[RecordedDirectory]:
    """Read the file of `DirectoryRecord`: one entry per directory.

    Raises
    ------
    HarnessError
        If it is missing, damaged or of a version this reader does not know.
    """
    absent = f"There is no {path}, though the run has result directories: make it again."
    version = ("directories_version", DIRECTORIES_VERSION)
    return read_document(path, _Directories, version=version, absent=absent)["directories"]
