"""Environments for comparisons with known slowdowns: each has a changed copy of this version, made without pip."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import harness

_ROOT = Path(harness.__file__).parent.parent

_SLOWER = """

def _slowed(read):  # type: ignore[no-untyped-def]
    import time

    def slow(self, path, selection=None):  # type: ignore[no-untyped-def]
        start = time.perf_counter_ns()
        result = read(self, path, selection)
        end = time.perf_counter_ns()
        until = end + ({factor} - 1) * (end - start)
        while time.perf_counter_ns() < until:
            pass
        return result

    return slow


{reader}.read = _slowed({reader}.read)
"""

READERS = {
    "npz": ("harness/formats/npz.py", "NpzReader"),
    "hdf5": ("harness/formats/hdf5.py", "Hdf5Reader"),
    "zarr": ("harness/formats/zarr.py", "ZarrReader"),
    "zarr-slim": ("harness/formats/zarr_slim_reader.py", "ZarrSlimReader"),
}
"""File and class of each format's reader."""


def slower(name: str, factor: float) -> dict[str, str]:
    """Return the text to add to a copy, by file, so that each read of a format takes `factor` times as long, busily."""
    file, reader = READERS[name]
    return {file: _SLOWER.format(factor=factor, reader=reader)}


def changed_copy(folder: Path, added: Mapping[str, str]) -> Path:
    """Create an environment with a copy of this version, with text appended to some files.

    Parameters
    ----------
    folder : Path
        Folder to create, with the copy and the environment inside.
    added : mapping of str to str
        Text to append, by file.

    Returns
    -------
    Path
        Its interpreter; it uses the libraries of the current environment.
    """
    copy, environment = folder / "copy", folder / "environment"
    for name in ("harness", "suites"):
        shutil.copytree(_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in added.items():
        with (copy / file).open("a") as opened:
            opened.write(text)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    answer = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    Path(answer.stdout.strip(), "copy.pth").write_text("\n".join([str(copy), *paths]) + "\n")
    return python
