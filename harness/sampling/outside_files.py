"""Detect that a reader reads files outside its archive: data stored there would not count as reads of the archive."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.sampling.counters import read_aside

_LEAST = 4096  # bytes: smaller files hold settings
_CODE = (".py", ".pyc", ".so", ".pyd")
_OF_PACKAGES = (".dist-info", ".egg-info")
_SYSTEM = ("/proc", "/sys", "/etc", "/usr", "/lib", "/lib64", "/bin", "/opt")
_PROCESS = Path("/proc/self")


class _Watch:
    opened: set[str] | None = None  # files opened during a watched block; None outside of one


@contextmanager
def nothing_elsewhere(archive: Path) -> Iterator[None]:
    """Check that the block reads no files other than the archive's and code.

    The check covers files that Python opens in this process, and files that any library still has open or mapped at the
    end of the block. It misses files that a library opens and closes without Python, and files that other processes
    open.

    Raises
    ------
    HarnessError
        When such a file was read, with its name.
    """
    _install()
    before = _held()
    _Watch.opened = set()
    try:
        yield
        found = _Watch.opened | (_held() - before)
    finally:
        _Watch.opened = None
    inside = archive.resolve()
    for name in sorted(found):
        path = Path(name).absolute()
        if not path.resolve().is_relative_to(inside) and _holds_data(path):
            raise HarnessError(f"read {path}, which is outside its archive")


@cache
def _install() -> None:
    """Install an audit hook for files that Python opens; hooks are permanent, so it acts only in watched blocks."""
    sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if _Watch.opened is not None and event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes) and not flags & os.O_WRONLY:
            _Watch.opened.add(os.fsdecode(path))


def _held() -> set[str]:
    """Return the paths of files that are open or mapped in this process; see proc_pid_fd(5) and proc_pid_maps(5)."""
    found = set()
    with suppress(OSError):
        for link in (_PROCESS / "fd").iterdir():
            with suppress(OSError):
                found.add(str(link.readlink()))
        for line in read_aside(_PROCESS / "maps").splitlines():
            found.add(os.fsdecode(line.split(maxsplit=5)[-1]))
    return {name for name in found if name.startswith("/")}


def _holds_data(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size < _LEAST:
        return False
    code = path.suffix in _CODE or ".so." in path.name or any(part.endswith(_OF_PACKAGES) for part in path.parts)
    return not code and not any(path.is_relative_to(folder) for folder in (*_SYSTEM, sys.prefix, sys.base_prefix))
