"""Sides of a comparison that hold a changed copy of this version, made without pip, for slowdowns that are known."""

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
"""Where each format reads: file and class."""


def slower(name: str, factor: float) -> dict[str, str]:
    """Return the text to add to a copy so that every read of a format takes that many times as long, busily."""
    file, reader = READERS[name]
    return {file: _SLOWER.format(factor=factor, reader=reader)}


def changed_copy(folder: Path, added: Mapping[str, str]) -> Path:
    """Make an environment that holds a copy of this version, with text added to the end of some files.

    Parameters
    ----------
    folder : Path
        Made; the copy and the environment are inside.
    added : mapping of str to str
        What to add, by file.

    Returns
    -------
    Path
        Its interpreter; the libraries are those of the present environment.
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
