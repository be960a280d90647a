"""Process counters: bytes and calls of reads, opened files, peak memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.formats.seal import files_of

_IO = Path("/proc/self/io")
_IN_OPEN, _IN_CLOSE = 0x20, 0x18
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True)
class ReadCounts:
    """Bytes and calls of a process's reads so far (``rchar`` and ``syscr``, see proc(5)); None if unknown.

    For reads from a store: bytes and requests of its client, and how many requests were retries.
    """

    bytes_read: int | None
    requests: int | None
    retries: int | None = None

    def since(self, before: ReadCounts) -> ReadCounts:
        """Return the difference."""
        if self.bytes_read is None or before.bytes_read is None or self.requests is None or before.requests is None:
            return ReadCounts(None, None)
        return ReadCounts(self.bytes_read - before.bytes_read, self.requests - before.requests)


def read_counts() -> ReadCounts:
    """Return what this process has read so far, except by `read_aside`."""
    aside = _Aside.bytes_read, _Aside.requests  # before reading: the kernel's figures do not include that read yet
    try:
        fields = dict(line.split(b": ") for line in read_aside(_IO).splitlines())
    except OSError:
        return ReadCounts(None, None)
    return ReadCounts(int(fields[b"rchar"]) - aside[0], int(fields[b"syscr"]) - aside[1])


class _Aside:
    lock = threading.Lock()
    bytes_read = requests = 0


def read_aside(path: Path) -> bytes:
    """Read a file of ``/proc`` for the harness itself; `read_counts` excludes it."""
    found, requests = b"", 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while data := os.read(descriptor, 1 << 16):
            found, requests = found + data, requests + 1
    finally:
        os.close(descriptor)
        with _Aside.lock:
            _Aside.bytes_read += len(found)
            _Aside.requests += requests + 1
    return found


class LocalCounter:
    """Counts reads of files by this process."""

    def __init__(self) -> None:
        self._before = read_counts()

    def counts(self) -> ReadCounts:
        """Return the reads since the counter was created."""
        return read_counts().since(self._before)


def fetched_bytes() -> int | None:
    """Return the bytes that this process and its children fetched from a disk so far; None if unknown.

    Reads from the page cache do not count. Pages of mapped files that were loaded from disk do (``read_bytes``, see
    proc(5)).
    """
    processes = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
    try:
        texts = [Path(f"/proc/{process}/io").read_text() for process in processes]
    except OSError:
        return None
    fields = [dict(line.split(": ") for line in text.splitlines()) for text in texts]
    return sum(int(field["read_bytes"]) for field in fields)


def reset_peak_rss() -> None:
    """Reset the process's peak resident size to the current size (proc(5), ``clear_refs``)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss() -> int | None:
    """Return the peak resident size since `reset_peak_rss`, in bytes; None if unknown."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


@dataclass
class Opens:
    """Number of opens of an archive's files; None until the block ends, and if it cannot be counted."""

    count: int | None = None


@contextmanager
def count_opens(path: Path) -> Iterator[Opens]:
    """Count opens by any process of the files of an archive (a file or a folder), with inotify(7).

    The kernel merges consecutive equal events, for example if a file is opened twice before it is closed. So folders
    are watched too: each open gives an event of the folder, then one of the file. Opens of one file by two threads in
    the same microsecond may still count as one.
    """
    opens = Opens()
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(libc, "inotify_init1") else -1
    if descriptor < 0:
        yield opens
        return
    try:
        folders = [path, *(p for p in path.rglob("*") if p.is_dir())] if path.is_dir() else [path.parent]
        between = [libc.inotify_add_watch(descriptor, os.fsencode(p), _IN_OPEN | _IN_CLOSE) for p in folders]
        watched = [libc.inotify_add_watch(descriptor, os.fsencode(p), _IN_OPEN) for p in files_of(path)]
        yield opens
        opens.count = _count_events(descriptor, set(watched)) if min(between + watched) >= 0 else None
    finally:
        os.close(descriptor)


def _count_events(descriptor: int, watched: set[int]) -> int | None:
    count = 0
    while True:
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return count
        offset = 0
        while offset < len(data):
            watch, _, _, length = _EVENT.unpack_from(data, offset)
            if watch < 0:  # the queue overflowed
                return None
            count += watch in watched
            offset += _EVENT.size + length
