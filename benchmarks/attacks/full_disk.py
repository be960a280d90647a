"""Fill the disk while a run measures and while archives are converted; free it, and continue."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.records import CellKey
from harness.row_files import read_samples

_TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"
_CONVERTED = "synthetic:layers=2,heads=4,hidden_dim=64,pair_dim=32,n_res=100"
_SIZES = (64, 150, 300, 500, 700, 900, 1000, 1100, 1200)  # KiB; the archives take 1200 to 3000
_SUFFIXES = (".npz", ".h5", ".zarr", ".slim.zarr", ".safetensors")
_RUN = ("--preset", "quick", "--trace", _TRACE, "--sizes", "64", "--formats", "npz,hdf5,zarr", "--rounds", "10",
        "--suites", "write,layer_read,random_access")  # fmt: skip


def main() -> int:
    """Print a line for each attack, and return 1 where one got through."""
    with tempfile.TemporaryDirectory(prefix="harness-full-") as name:
        disk = Path(name)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", name], capture_output=True).returncode:
            print("full disk: skipped, a small filesystem can be mounted by root only")
            return 0
        subprocess.run(["umount", name], check=True)
        wrong = _conversions(disk)
        return 1 if wrong + _runs(disk) else 0


@contextmanager
def _mounted(disk: Path, size: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness", *arguments], capture_output=True, text=True)


def _conversions(disk: Path) -> int:
    silent, left, tried = [], [], 0
    for suffix in _SUFFIXES:
        for size in _SIZES:
            with _mounted(disk, f"{size}k"):
                done = _harness("convert", _CONVERTED, str(disk / f"a{suffix}"))
                tried += 1
                if done.returncode == 0:
                    continue
                if "No space left on device" not in done.stderr or "Traceback" in done.stderr:
                    silent.append(f"{suffix} {size}k: {done.stderr.strip()[-200:]}")
                left += [f"{suffix} {size}k: {path.name}" for path in disk.iterdir()]
    print(
        f"full disks while converting: {tried} tried, {len(silent)} not said in a sentence, {len(left)} left something"
    )
    for problem in (*silent, *left):
        print(f"  {problem}")
    return len(silent) + len(left)


def _runs(disk: Path) -> int:
    """Fill the disk beside a run at several moments, let it end, free the disk, and resume."""
    problems, moments = [], (2, 40, 120)
    for rows in moments:
        with _mounted(disk, "40m"):
            folder = disk / "run"
            process = subprocess.Popen(
                [sys.executable, "-m", "harness", "run", "--quiet", *_RUN, "--out", str(folder)],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            samples = folder / "samples.csv"
            while process.poll() is None and (not samples.exists() or samples.read_bytes().count(b"\n") < rows):
                time.sleep(0.01)
            _fill(disk / "filling")
            _, said = process.communicate()
            (disk / "filling").unlink()
            if process.returncode == 0 or "harness run --resume --out" not in said:
                problems.append(f"after {rows} rows: exit {process.returncode}, said {said.strip()[-200:]!r}")
            resumed = _harness("run", "--quiet", "--resume", "--out", str(folder))
            problems += [f"after {rows} rows, resumed: {problem}" for problem in _wrong(resumed, folder)]
    print(f"full disks while measuring: {len(moments)} tried, {len(problems)} not said or not mended by --resume")
    for problem in problems:
        print(f"  {problem}")
    return len(problems)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            for size in (1 << 16, 1 << 12):
                try:
                    while True:
                        file.write(os.urandom(size))
                except OSError:
                    pass
        finally:
            os.fsync(file.fileno())


def _wrong(resumed: subprocess.CompletedProcess[str], folder: Path) -> list[str]:
    if resumed.returncode:
        return [f"exit {resumed.returncode}: {resumed.stderr.strip()[-200:]}"]
    rows = read_samples(folder / "samples.csv")
    doubled = int(rows.duplicated([*CellKey._fields, "round"]).sum())
    bad = int((~rows["status"].isin(["ok", "skipped"])).sum())
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    return [f"{doubled} rows doubled, {bad} not ok, left {left}"] if doubled or bad or left else []
