"""Measurement of a run's result directories: each is copied, slimmed, counted, read as before, and restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories.comparing import compare
from harness.extensions.result_directories.disk import copy_folder, sizes
from harness.extensions.result_directories.manifest import Kind, Mode, Plain, load_manifest
from harness.extensions.result_directories.programs import recognise
from harness.extensions.result_directories.record import DIRECTORIES, DirectoryRecord, RecordedFile, RecordedMode, total
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.run_options import VANILLA, AskedDirectories, directory_key
from harness.extensions.result_directories.slimming import slim
from harness.files import file_digest
from harness.formats.archive import remove
from harness.records import NoFigure
from harness.run.measurement import Measuring, RunSession
from harness.run.subject import Subject
from harness.sampling.worker import Children, WorkerError

_OPTIONS: dict[str, tuple[Mode, Plain]] = {
    "slim": ("slim", "best"),
    "slim-plain-none": ("slim", "none"),
    "minimal": ("minimal", "best"),
}
"""Mode and ``--plain`` of `slimming.slim`, by the names in `DIRECTORY_MODES`."""

_NO_BOUND = "mode minimal gives up precision and was given no bound: name one with --directory-bound"
_UNREAD = "the directory as it was written could not be measured"


@dataclass(frozen=True)
class Directory:
    """One result directory."""

    text: str  # As named in the options.
    label: str  # Its name in records: the shortest end of its path that distinguishes it from the others.
    kind: Kind  # Its program, one of `harness.extensions.result_directories.manifest.KINDS`.
    size_bytes: int  # Of all its files.


def open_directories(asked: AskedDirectories) -> list[Directory]:
    """Recognise every requested result directory, without copying it.

    Parameters
    ----------
    asked : AskedDirectories
        The run's request.

    Returns
    -------
    list of Directory
        In the requested order.

    Raises
    ------
    UsageError
        If a directory does not exist, is named twice, is of no known program, or is already slimmed.
    HarnessError
        If its ranking is damaged.
    """
    found = []
    for text, label in zip(asked.directories, _labels(asked.directories), strict=True):
        folder = Path(text)
        kind = recognise(folder).kind
        if load_manifest(folder) is not None:
            raise UsageError(f"{folder} is slimmed already; run harness unslim {folder} first, or name another.")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        found.append(Directory(text, label, kind, size))
    return found


def _labels(texts: Sequence[str]) -> list[str]:
    parts = [Path(text).resolve().parts for text in texts]
    if len(set(parts)) < len(parts):
        raise UsageError("A result directory is named twice; name each once.")
    longest = max(map(len, parts))
    labels = (["/".join(part[-count:]) for part in parts] for count in range(1, longest + 1))
    return next(found for found in labels if len(set(found)) == len(parts))


def contents(folder: Path) -> dict[str, RecordedFile]:
    """Return size in bytes and SHA-256 of every file of a directory, by its path in it; links are not followed."""
    return {name: {"size": size, "sha256": file_digest(folder / name)} for name, size in sizes(folder).items()}


@dataclass(frozen=True)
class SlimmedCopy:
    """Result of one mode for a directory: its files as written, and the record of the mode."""

    before: dict[str, RecordedFile]
    mode: RecordedMode


@dataclass(frozen=True)
class SlimTask:
    """Task that copies a directory, slims the copy, reads it as before, and restores it."""

    folder: Path  # The directory; it is only read.
    copy: Path  # Path of the copy, which is removed at the end.
    mode: str  # One of `DIRECTORY_MODES`.
    bound: float | None  # For minimal.

    def run(self, children: Children) -> SlimmedCopy:
        """Run the task.

        Raises
        ------
        HarnessError
            If a file could not be slimmed, gives other values than before, or is not restored byte for byte.
        """
        remove(self.copy)
        try:
            copy_folder(self.folder, self.copy)
            before = contents(self.copy)
            if self.mode == VANILLA:
                return SlimmedCopy(before, {"contents": before})
            mode, plain = _OPTIONS[self.mode]
            found = slim(self.copy, mode, bound=self.bound, plain=plain)
            _refuse(found.problems)
            after = contents(self.copy)
            compared = compare(self.folder, self.copy)
            _refuse(compared.problems)
            given_up = _brought_back(self.copy, before)
            facts: RecordedMode = {
                "bound": self.bound,
                "files_restored": len(before) - len(given_up),
                "files_given_up": given_up,
                "files_need_unslim": list(found.read_by("unslim")),
                "values_compared": compared.values,
                "values_same": compared.same,
                "values_dropped": compared.dropped,
                "largest_error": compared.largest_error,
                "contents": after,
            }
            return SlimmedCopy(before, facts)
        finally:
            remove(self.copy)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise HarnessError(problems[0].rstrip(".") + more)


def _brought_back(folder: Path, before: dict[str, RecordedFile]) -> list[str]:
    """Restore a directory; return the files that its manifest declares as given up, and raise if others are missing."""
    manifest = load_manifest(folder)
    if manifest is None:
        return []  # slimming saved nothing, so it changed nothing
    given_up = sorted(name for name, entry in manifest.items.items() if entry.arrays)
    unslim(folder)
    now = contents(folder)
    missing = [name for name in before if now.get(name) != before[name] and name not in given_up]
    _refuse([f"{name} does not come back byte for byte" for name in missing])
    if not given_up and now != before:
        raise HarnessError(f"{min(set(now) - set(before))} is left after restoring")
    return given_up


class DirectoriesOfRun(Measuring):
    """Sampling of each directory in every mode that is not recorded yet; failures are recorded with their reasons.

    Parameters
    ----------
    asked : AskedDirectories
        Modes and bound.
    directories : sequence of Directory
        From `open_directories`.
    """

    def __init__(self, asked: AskedDirectories, directories: Sequence[Directory]) -> None:
        self._asked, self._directories = asked, directories
        # While a copy is restored, its packed and its restored files exist at the same time.
        self.copy_bytes = 2 * max(directory.size_bytes for directory in directories)

    def begin(self, session: RunSession) -> None:
        """Open ``directories.json``."""
        self._session, self._record = session, DirectoryRecord(session.folder / DIRECTORIES)

    def steps(self, subject: Subject | None) -> int:
        """Return one step for each mode of each directory, all before the first trace."""
        return 0 if subject else len(self._directories) * len(self._asked.modes)

    def before(self) -> None:
        """Measure every directory."""
        for directory in self._directories:
            for position, mode in enumerate(self._asked.modes):
                self._session.step(f"{directory.label}: {mode}")
                self._measure(directory, mode, position)

    def _measure(self, directory: Directory, mode: str, position: int) -> None:
        recorder, key = self._session.recorder, directory_key(directory.label, mode)
        if recorder.whole([key], 1):
            return
        recorder.begin([key], 1)
        bound = self._asked.bound if mode == "minimal" else None
        if unread := recorder.failure(directory_key(directory.label, VANILLA)):
            values: dict[str, Any] = asdict(NoFigure("skipped", _UNREAD, unread.cause))
        elif mode == "minimal" and bound is None:
            values = {"status": "skipped", "reason": _NO_BOUND}
        else:
            values = self._taken(directory, mode, bound)
        recorder.add(key, 0, position, **values)

    def _taken(self, directory: Directory, mode: str, bound: float | None) -> dict[str, Any]:
        task = SlimTask(Path(directory.text), self._session.scratch / "directory", mode, bound)
        try:
            slimmed: SlimmedCopy = self._session.writer.do(task)
            self._record.add(directory.label, directory.kind, mode, slimmed.before, slimmed.mode)
        except (WorkerError, HarnessError) as error:
            remove(task.copy)
            return {**asdict(NoFigure.of(error)), "verified": False}
        size, files = total(slimmed.mode)
        return {"status": "ok", "verified": True, "size_bytes": size, "files": files}
