"""History file: one line per run, appended by one write and never changed; damaged lines are counted and kept."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.extensions.history.record import CorruptLine, RunRecord
from harness.files import WHOLE, check_regular, read_bytes, sync


@dataclass(frozen=True)
class History:
    """Content of one or several history files."""

    records: tuple[RunRecord, ...]  # In the order of the file.
    corrupt: tuple[int, ...]  # Numbers, from 1, of the damaged lines.


def read_history(*paths: Path) -> History:
    """Read one history file, or several of one kind of machine; a run that is in two files counts once.

    Returns
    -------
    History
        The records without damaged lines, such as a last line cut off by a crash.

    Raises
    ------
    UsageError
        If a file does not exist or cannot be read, or the runs are of several kinds of machine.
    HarnessError
        If a line has a version that this reader does not know.
    """
    records: dict[str, RunRecord] = {}
    corrupt: list[int] = []
    for path in paths:
        try:
            part = _parse(read_bytes(path, WHOLE), path)
        except FileNotFoundError as error:
            raise UsageError(f"There is no history {path}: 'harness history add RUN' begins one.") from error
        except OSError as error:
            raise UsageError(f"The history {path} cannot be read: {error.strerror or error}.") from error
        if records and part.records:
            what = f"{paths[0]} and {path} are of different kinds of machine"
            _require_same_machine([next(iter(records.values())), part.records[0]], what)
        records |= {record.samples_sha256: record for record in part.records}
        corrupt += part.corrupt
    return History(tuple(records.values()), tuple(corrupt))


def _parse(data: bytes, path: Path) -> History:
    records, corrupt = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(RunRecord.from_line(line.decode("utf-8")))
        except (CorruptLine, UnicodeDecodeError):
            corrupt.append(number)
        except HarnessError as error:
            raise HarnessError(f"{path}, line {number}: {error}") from error
    _require_same_machine(records, f"{path} mixes machines")
    return History(tuple(records), tuple(corrupt))


def _require_same_machine(records: Sequence[RunRecord], what: str) -> None:
    """Raise `UsageError` if the machines of the runs differ in kind; the message names the differences."""
    for other in records:
        if differs := records[0].machine.difference(other.machine):
            raise UsageError(
                f"{what}: {differs}. Times of {records[0].run_id} and {other.run_id} cannot be compared; "
                f"keep one file for each kind of machine."
            )


def append(path: Path, record: RunRecord) -> History:
    """Add a run to a history, as one line that is on disk when this returns.

    A lock on the file serialises appenders. One call writes the line. If it fails or the disk is full, the file is
    truncated to its earlier length. A last line that a crash cut off stays, and the new line starts after it.

    Parameters
    ----------
    path : Path
        The file; created if it does not exist.
    record : RunRecord
        The run.

    Returns
    -------
    History
        The history with the new run.

    Raises
    ------
    UsageError
        If the history is of another kind of machine, already holds the run, or cannot be written to.
    HarnessError
        If the line cannot be written; the file is then unchanged.
    """
    try:
        if path.exists():
            check_regular(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(
            f"The history {path} cannot be written to ({error.strerror}): choose another --file."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        data = path.read_bytes()
        before = _parse(data, path)
        _require_same_machine([*before.records[:1], record], f"{path} is of another kind of machine")
        for known in before.records:
            if known.samples_sha256 == record.samples_sha256:
                raise UsageError(f"{path} holds the run {known.run_id} of {known.started} already: add each run once.")
        payload = (b"\n" if data and not data.endswith(b"\n") else b"") + record.to_line().encode()
        try:
            if os.write(descriptor, payload) != len(payload):
                raise OSError(None, "the disk is full")
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, len(data))
            raise HarnessError(f"{path} could not be written ({error.strerror}); it is as it was.") from error
    finally:
        os.close(descriptor)
    sync(path.parent)
    return History((*before.records, record), before.corrupt)
