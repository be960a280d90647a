"""Kill runs and conversions at random moments, and resume one run twice at once: nothing is lost, doubled or left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.formats.archive import verify_archive
from harness.records import CellKey
from harness.row_files import read_samples

_TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"
_RUN = ("--preset", "quick", "--trace", _TRACE, "--sizes", "32", "--formats", "npz,hdf5,zarr", "--rounds", "10",
        "--suites", "write,layer_read,random_access")  # fmt: skip
_CONVERTED = "synthetic:layers=4,heads=4,hidden_dim=64,pair_dim=32,n_res=128"
_SUFFIXES = (".npz", ".h5", ".zarr", ".slim.zarr", ".safetensors")
_RUNS, _KILLS_OF_A_RUN, _CONVERSIONS = 4, 6, 40
_WAYS = (signal.SIGKILL, signal.SIGTERM)


def main() -> int:
    """Print a line for each attack, and return 1 where one got through."""
    chance = random.Random(14)
    with tempfile.TemporaryDirectory(prefix="harness-kills-") as name:
        wrong = [_runs(Path(name), chance), _twins(Path(name)), _conversions(Path(name), chance)]
    return 1 if any(wrong) else 0


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _begun(folder: Path) -> subprocess.Popen[str]:
    """Start a run, or continue it where it was begun."""
    asked = ("--resume",) if (folder / "run.json").exists() else _RUN
    return _start("run", "--quiet", *asked, "--out", str(folder))


def _struck(process: subprocess.Popen[str], after: float, number: int) -> bool:
    """Let a process be for some seconds, and end it; says whether it was still there."""
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    process.communicate()
    return process.returncode in (-number, 128 + number)


def _alive(session: int) -> int:
    """Count the processes of a session, when they had time to end."""
    for _ in range(200):
        count = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            count += int(its) == session and state != "Z"
        if not count:
            return 0
        time.sleep(0.05)
    return count


def _wrong(folder: Path) -> list[str]:
    rows = read_samples(folder / "samples.csv")
    doubled = int(rows.duplicated([*CellKey._fields, "round"]).sum())
    bad = int((~rows["status"].isin(["ok", "skipped"])).sum())
    left = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
    problems = [f"{doubled} rows doubled"] if doubled else []
    return problems + ([f"{bad} rows not ok"] if bad else []) + ([f"left {left}"] if left else [])


def _runs(scratch: Path, chance: random.Random) -> int:
    kills, problems = 0, []
    for number in range(_RUNS):
        folder = scratch / f"run-{number}"
        for _ in range(_KILLS_OF_A_RUN):
            process = _begun(folder)
            kills += _struck(process, chance.uniform(1, 12), chance.choice(_WAYS))
            if left := _alive(process.pid):
                problems.append(f"{folder.name}: {left} processes left")
        last = _start(
            "run", "--quiet", *(("--resume",) if (folder / "run.json").exists() else _RUN), "--out", str(folder)
        )
        _, said = last.communicate()
        problems += [f"{folder.name}: exit {last.returncode}, {said[-300:]}"] if last.returncode else []
        problems += [f"{folder.name}: {problem}" for problem in _wrong(folder)]
    return _told(f"kills of runs, then resumed: {kills} in {_RUNS} runs", problems)


def _twins(scratch: Path) -> int:
    """Resume one run twice at once, several times."""
    problems, tried = [], 5
    for number in range(tried):
        folder = scratch / f"twins-{number}"
        first, samples = _begun(folder), folder / "samples.csv"
        while first.poll() is None and (not samples.exists() or samples.read_bytes().count(b"\n") < 5 + 10 * number):
            time.sleep(0.02)
        _struck(first, 0, signal.SIGKILL)
        pair = [_start("run", "--quiet", "--resume", "--out", str(folder)) for _ in range(2)]
        said = [process.communicate()[1] for process in pair]
        codes = sorted(process.returncode for process in pair)
        if codes != [0, 2] or not any("Another process" in text for text in said):
            problems.append(f"{folder.name}: exit codes {codes}, {said}")
        problems += [f"{folder.name}: {problem}" for problem in _wrong(folder)]
    return _told(f"two resumed at once: {tried} pairs", problems)


def _conversions(scratch: Path, chance: random.Random) -> int:
    kills, problems = 0, []
    for number in range(_CONVERSIONS):
        folder = scratch / f"conversion-{number}"
        folder.mkdir()
        archive, way = folder / f"a{chance.choice(_SUFFIXES)}", chance.choice(_WAYS)
        kills += _struck(_start("convert", _CONVERTED, str(archive)), chance.uniform(0.5, 5), way)
        left = [path.name for path in folder.iterdir() if path != archive]
        if left and way != signal.SIGKILL:
            problems.append(f"{archive.name}: SIGTERM left {left}")
        if archive.exists():
            problems += verify_archive(archive)
            continue
        again = _start("convert", _CONVERTED, str(archive))
        _, said = again.communicate()
        left = [path.name for path in folder.iterdir() if path != archive]
        if again.returncode or left or verify_archive(archive):
            problems.append(f"{archive.name}: again: exit {again.returncode}, left {left}, {said[-200:]}")
    return _told(f"kills of conversions, then again: {kills} of {_CONVERSIONS}", problems)


def _told(what: str, problems: list[str]) -> int:
    print(f"{what}, {len(problems)} problems", flush=True)
    for problem in problems:
        print(f"  {problem}", flush=True)
    return len(problems)
