"""Script that runs inside a side: writes and reads archives with that side's own harness, one JSON line per task.

It is run by path with another version's interpreter. So it imports nothing of this version, and of the other version
only what every version has: how a format is loaded, how an archive is written and how it is read.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

_MOST = 2000  # repetitions of one access in a block
_IO = "/proc/self/io"


class _Stopwatch:
    """Stopwatch that adds up the time inside its ``with`` blocks, in nanoseconds."""

    def __init__(self) -> None:
        self.total = self._start = 0

    def __enter__(self) -> _Stopwatch:
        self._start = time.perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self.total += time.perf_counter_ns() - self._start


def array_digest(array: Any) -> str:
    """Return a digest of dtype, shape and every byte of an array; it is the same in every version of this project."""
    import numpy as np

    if type(array) is not np.ndarray:
        return f"not an ndarray but {type(array).__name__}"
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    value = hashlib.blake2b(data.data, digest_size=16).hexdigest()  # of the standard library: every version has it
    return f"{array.dtype.str}{list(array.shape)}:{value}"


def hello(_: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of this side: its Python, libraries, formats and suites."""
    import harness

    packages = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {
        "python": platform.python_version(),
        "harness": str(Path(harness.__file__).parent),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
        "formats": sorted(point.name for point in metadata.entry_points(group=f"harness.{_room()}")),
        "suites": sorted(point.name for point in metadata.entry_points(group="harness.suites")),
    }


def _room() -> Any:
    """Return the name of the formats' package and of their entry points, which has also been ``backends``."""
    return "formats" if importlib.util.find_spec("harness.formats") else "backends"


def _archives() -> Any:
    return importlib.import_module(f"harness.{_room()}.archive")


def _format(task: dict[str, Any]) -> Any:
    from harness import registry

    base = importlib.import_module(f"harness.{_room()}.base")
    if ":" in task["format"] and hasattr(registry, "allow"):  # imports only typed plug-ins; this is one
        registry.allow((_room(), task["format"]))
    found = (base.load_format if hasattr(base, "load_format") else base.load_backend)(task["format"])
    configured = getattr(found, "configured", None)  # in versions that have profile files
    return configured(task["profile"]) if configured else found


_traces: dict[str, Any] = {}


def _trace(folder: str) -> Any:
    """Return the tensors that both sides get; load them once."""
    if folder not in _traces:
        import numpy as np

        from harness.trace import stream  # has the manifest in every version, wherever that is defined

        manifest = stream.Manifest.from_json((Path(folder) / "manifest.json").read_text())
        arrays = {s.path: np.load(Path(folder) / f"{k}.npy") for k, s in enumerate(manifest.tensors)}
        _traces[folder] = stream.MemoryTrace("compared", manifest, arrays)
    return _traces[folder]


def make(task: dict[str, Any]) -> dict[str, Any]:
    """Write the archive and, if it is timed, copies of it; return times, size, files and digest."""
    archives = _archives()
    backend, trace, path = _format(task), _trace(task["data"]), Path(task["archive"])
    split = "stopwatch" in inspect.signature(archives.write_archive).parameters
    archives.write_archive(trace, backend, path, task["profile"])
    files = [p for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file()]
    times: list[float] = []
    end = time.perf_counter() + task["seconds"]
    copy = path.with_name(f"again-{path.name}")
    while split and task["seconds"] and (not times or time.perf_counter() < end):
        watch = _Stopwatch()
        gc.collect()
        gc.disable()
        archives.write_archive(trace, backend, copy, task["profile"], stopwatch=watch)
        gc.enable()
        archives.remove(copy)
        times.append(watch.total / 1e9)
    contents = hashlib.sha256()
    for file in sorted(files):
        contents.update(f"{file.relative_to(path)}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return {
        "seconds": times,
        "size_bytes": sum(file.stat().st_size for file in files),
        "files": len(files),
        "sha256": contents.hexdigest(),
    }


def digests(task: dict[str, Any]) -> dict[str, Any]:
    """Read every tensor of an archive, whichever side wrote it, and return their digests."""
    backend, found = _format(task), {}
    with backend.reader(Path(task["archive"])) as reader:
        for path in task["tensors"]:
            found[path] = array_digest(reader.read(path, None))
    return {"digests": found}


def _counts() -> tuple[int, int, int]:
    """Return bytes and calls of this process's reads so far (proc(5)), and the bytes that this read adds."""
    descriptor = os.open(_IO, os.O_RDONLY)
    try:
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    fields = dict(line.split(b": ") for line in text.splitlines())
    return int(fields[b"rchar"]), int(fields[b"syscr"]), len(text)


def move(core: int | None) -> None:
    """Move this thread to a core. It may use others afterwards, but hardly leaves the core while it computes."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        usable = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        os.sched_setaffinity(0, usable)


def access(task: dict[str, Any]) -> dict[str, Any]:
    """Repeat an access, each time with a fresh reader, until a block is long enough; check every result.

    A block is timed without garbage collection. Results are checked after each repetition, outside the timer.
    """
    move(task.get("core"))
    backend, path = _format(task), Path(task["archive"])
    reads = [(name, None if part is None else tuple(slice(*ends) for ends in part)) for name, part in task["reads"]]
    opened: list[float] = []
    times: list[float] = []
    spent, counted = 0.0, None
    while not opened or (spent < task["seconds"] and len(opened) < _MOST):
        gc.disable()
        before = _counts() if task["count"] else None
        start = time.perf_counter_ns()
        reader = backend.reader(path)
        middle = time.perf_counter_ns()
        results = [reader.read(name, part) for name, part in reads]
        end = time.perf_counter_ns()
        reader.close()
        if before:
            after = _counts()
            counted = [after[0] - before[0] - before[2], after[1] - before[1] - 1]
        gc.enable()
        for (name, _), result, wanted in zip(reads, results, task["expected"], strict=True):
            if array_digest(result) != wanted:
                return {"problem": f"{task['format']} returned other values than were written, in {name}"}
        opened.append((middle - start) / 1e9)
        times.append((end - middle) / 1e9)
        spent += (end - start) / 1e9
    return {"open_seconds": opened, "seconds": times, "counts": counted}


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    task.__name__: task for task in (hello, make, digests, access)
}


def serve() -> None:
    """Answer tasks from standard input until it ends; the output of libraries goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = TASKS[task["do"]](task)
        except Exception as error:  # noqa: BLE001 - reported to the process that asked
            text = " ".join(str(error).split()).rstrip(".")
            known = type(error).__module__.startswith("harness.")
            answer = {"problem": text if known else f"{type(error).__name__}: {text}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
