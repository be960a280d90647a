"""``archives.json``: size and SHA-256 of every archive that a run read from, and the digests of the tensors in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from harness.documents import Count, Digest, Positive, read_document
from harness.run.entry_file import EntryFile
from harness.run.preparation import Prepared
from harness.run.subject import Subject

_VERSION = 1


class RecordedArchive(TypedDict):
    """An archive that a run read from."""

    format: str
    profile: str
    size_bytes: Count
    files: Count
    sha256: Digest


class RecordedSubject(TypedDict):
    """The archives of a trace, and the digests of its tensors by path."""

    trace: str
    n_res: Positive | None
    tensor_digests: dict[str, Digest]
    archives: list[RecordedArchive]


class _Archives(TypedDict):
    subjects: list[RecordedSubject]


class ArchiveRecord:
    """Writer of ``archives.json``; keeps existing entries. A run without archives gets an empty list."""

    def __init__(self, path: Path) -> None:
        self._file = EntryFile(path, {"archives_version": _VERSION}, "subjects", read_archives)
        self._file.write()

    def add(self, subject: Subject, prepared: Prepared) -> None:
        """Record the archives of a subject; replaces its earlier entry."""
        self._file.entries = [e for e in self._file.entries if (e["trace"], e["n_res"]) != subject.place]
        archives: list[RecordedArchive] = [
            {
                "format": arm.label,
                "profile": arm.profile,
                "size_bytes": written.size_bytes,
                "files": written.files,
                "sha256": written.sha256,
            }
            for arm, written in sorted(prepared.writes.items(), key=lambda item: (item[0].label, item[0].profile))
        ]
        digests = dict(prepared.manifest.digests)
        self._file.entries.append(
            {"trace": subject.label, "n_res": subject.n_res, "tensor_digests": digests, "archives": archives}
        )
        self._file.write()


def read_archives(path: Path) -> list[RecordedSubject]:
    """Read a file written by `ArchiveRecord`; return one entry per subject.

    Raises
    ------
    HarnessError
        When the file is damaged or its version is unknown to this reader.
    """
    return read_document(path, _Archives, version=("archives_version", _VERSION))["subjects"]
