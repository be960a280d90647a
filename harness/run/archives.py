"""``archives.json``: size and SHA-256 of every archive that a run read from, and the digests of the tensors in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from harness.documents import Count, Digest, Positive, read_document
from harness.files import write_text
from harness.run.preparation import Prepared
from harness.run.subject import Subject

ARCHIVES_VERSION = 1


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
    """The file, written anew with every subject.

    Parameters
    ----------
    path : Path
        The file; what an earlier session of the run wrote is kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._subjects = read_archives(path) if path.exists() else []
        if not path.exists():
            self._write()  # a run of result directories alone has no archive, and says so

    def add(self, subject: Subject, prepared: Prepared) -> None:
        """Note the archives of a subject, in place of what was noted of it before."""
        key = (subject.label, subject.n_res)
        self._subjects = [s for s in self._subjects if (s["trace"], s["n_res"]) != key]
        archives: list[RecordedArchive] = [
            {
                "format": arm.label,
                "profile": arm.profile,
                "size_bytes": written.size_bytes,
                "files": written.files,
                "sha256": written.sha256,
            }
            for arm, (_, written) in sorted(prepared.writes.items(), key=lambda item: (item[0].label, item[0].profile))
        ]
        self._subjects.append(
            {
                "trace": subject.label,
                "n_res": subject.n_res,
                "tensor_digests": dict(prepared.manifest.digests),
                "archives": archives,
            }
        )
        self._write()

    def _write(self) -> None:
        document = {"archives_version": ARCHIVES_VERSION, "subjects": self._subjects}
        write_text(self._path, json.dumps(document, indent=1) + "\n")


def read_archives(path: Path) -> list[RecordedSubject]:
    """Read what `ArchiveRecord` wrote: one entry a subject.

    Raises
    ------
    HarnessError
        When it is damaged or of a version this reader does not know.
    """
    return read_document(path, _Archives, version=("archives_version", ARCHIVES_VERSION))["subjects"]
