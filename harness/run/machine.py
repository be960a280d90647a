"""The record of the machine and the libraries that a run was measured with."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec

import harness
from harness.capacity import capacity
from harness.documents import Figure, Positive, convert, read_document
from harness.run.entry_file import EntryFile
from harness.run.newest_releases import Newest, newest
from harness.sampling.cache import mount_of

_LIBRARIES = (
    "trace-format-harness", "numpy", "zarr", "numcodecs", "h5py", "hdf5plugin", "pcodec", "safetensors", "zarrs",
    "tensorstore", "xxhash", "dask", "distributed", "pandas", "matplotlib", "torch",
    "scikit-learn",
)  # fmt: skip
_CPUINFO = Path("/proc/cpuinfo")
_THREAD_VARIABLES = ("BLOSC_NTHREADS", "OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "HDF5_USE_FILE_LOCKING")


def describe(folder: Path) -> dict[str, Any]:
    """Describe this machine, and the filesystem of a folder, as far as they may affect results.

    Returns
    -------
    dict
        Plain values for ``environment.json``; None for unknown values. Sizes in bytes, times in seconds.
        ``cores_limit`` and ``memory_limit_bytes`` are limits of control groups; None if there is no limit.
    """
    here, packages, mount = capacity(), _packages(), mount_of(folder)
    return {
        "started": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "harness": harness.__version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "interpreter_lock": interpreter_lock(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_field("model name") or platform.processor() or None,
        "cores": here.cores,
        "cores_usable": here.cores_usable,
        "cores_limit": here.limits.cores,
        "virtual_machine": _virtual(),
        "memory_bytes": here.memory_bytes,
        "memory_limit_bytes": here.limits.memory_bytes,
        "page_size_bytes": os.sysconf("SC_PAGE_SIZE"),
        "filesystem": mount.kind,
        "mount_options": mount.options,
        "cache_note": "cold means the page cache of this system; a hypervisor's or a disk's own cache is not emptied",
        "clock_resolution_seconds": time.get_clock_info("perf_counter").resolution,
        "load_average": load_average(),
        "libraries": {name: packages.get(name) for name in _LIBRARIES},
        "packages": packages,
        "newest": newest(),
        "variables": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
    }


_Memory = Annotated[int, msgspec.Meta(ge=1, le=1 << 50)]


class Session(TypedDict, total=False):
    """The parts of a machine description that are read; descriptions of earlier versions may lack parts.

    ``node`` exists only in runs that were measured in tasks on nodes of a cluster.
    """

    node: str
    started: str
    commit: str | None
    python: str
    implementation: str
    interpreter_lock: bool | None
    system: str
    kernel: str
    machine: str
    cpu: str | None
    cores: Positive | None
    cores_usable: Positive | None
    cores_limit: Figure | None
    virtual_machine: bool | None
    memory_bytes: _Memory | None
    memory_limit_bytes: _Memory | None
    filesystem: str
    mount_options: str
    load_average: Figure | None
    load_average_at_end: Figure | None
    libraries: dict[str, str | None]
    packages: dict[str, str]
    newest: Newest


class _Sessions(TypedDict):
    run_id: str
    sessions: list[Session]


def nodes_of(environment: Mapping[str, Any]) -> set[str]:
    """Return the cluster nodes on which the blocks of a run were measured; empty for other runs."""
    return {session["node"] for session in environment.get("sessions") or () if session.get("node")}


def read_environment(path: Path) -> dict[str, Any]:
    """Read ``environment.json`` unchanged, and validate the parts described by `Session`.

    Raises
    ------
    HarnessError
        When the file is missing or damaged.
    """
    document = read_document(path, dict[str, Any])
    convert(document, _Sessions, path)
    return document


class Environment:
    """``environment.json``: the machine of each session of a run, and the disk space from `harness.run.disk_space`."""

    def __init__(self, folder: Path, run_id: str, disk: dict[str, Any] | None = None) -> None:
        head = {"run_id": run_id}
        self._file = EntryFile(
            folder / "environment.json", head, "sessions", lambda path: read_environment(path)["sessions"]
        )
        self._file.entries.append({**describe(folder), **({"disk": disk} if disk else {})})
        self._start = time.monotonic()
        self._file.write()

    def close(self) -> None:
        """Record the load average at the end, and the duration of the session."""
        duration = round(time.monotonic() - self._start, 1)
        self._file.entries[-1] |= {"load_average_at_end": load_average(), "duration_seconds": duration}
        self._file.write()


def interpreter_lock() -> bool:
    """Return whether Python's global interpreter lock is on; it may be off in free-threaded Python.

    Importing a library that was not built for free-threaded Python turns the lock on again.
    """
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def load_average() -> float | None:
    """Return the load average of the last minute; None if the system does not provide it."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _packages() -> dict[str, str]:
    """Return the versions of all installed distributions by name, so that others can recreate the environment."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: found[name] for name in sorted(found, key=str.lower)}


def _commit() -> str | None:
    """Return the commit of the checkout this library runs from, followed by ``+changes`` if files were modified."""
    folder = Path(harness.__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def _cpu_field(name: str) -> str | None:
    try:
        for line in _CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return None


def _virtual() -> bool | None:
    """Return whether the processor flags include ``hypervisor``, which guests have; None if there are no flags."""
    flags = _cpu_field("flags")
    return None if flags is None else "hypervisor" in flags.split()
