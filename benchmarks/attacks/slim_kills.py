"""Kill slimming and its undoing, at random moments and before every step on disk, and count the files lost.

``python -m benchmarks.attacks.slim_kills [N]`` kills N times (default: 10) on each directory: made-up ones, and the
real ones below HARNESS_DATA. It ends with 1 when a file was lost or a run did not resume.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO
from unittest import mock

from benchmarks.directories import af2, af3, digests, openfold3, real
from harness.errors import HarnessError
from harness.extensions.result_directories import disk
from harness.extensions.result_directories.manifest import NAME
from harness.extensions.result_directories.reading import read_file
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim

BOUND = 0.05

WAYS: dict[str, Callable[[Path], object]] = {
    "slim": lambda folder: slim(folder, "slim"),
    "smallest": lambda folder: slim(folder, "slim", plain="none"),
    "minimal": lambda folder: slim(folder, "minimal", bound=BOUND),
    "unslim": unslim,
}

_STEPS = ("os.rename", "os.remove", "os.utime", "os.chmod", "os.truncate", "os.mkdir", "os.rmdir", "os.link")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass
class KillTally:
    """What kills did."""

    kills: int = 0  # Processes that were killed before they ended.
    resumed: int = 0  # Runs of the same command afterwards that ended where an undisturbed one does.
    # A sentence for each file that could not be read, or run that did not resume.
    problems: list[str] = field(default_factory=list)


class KillCase:
    """A directory to be killed on, with what undisturbed runs make of it.

    Parameters
    ----------
    source : Path
        The directory; it is only read.
    scratch : Path
        An empty folder for copies of it.

    Attributes
    ----------
    forward : str
        The way of slimming that unslim undoes: the default one, or the smallest where that has nothing to gain.
    """

    def __init__(self, source: Path, scratch: Path) -> None:
        self._states, self.job = {"": scratch / "vanilla"}, scratch / "job"
        disk.copy_folder(source, self._states[""])
        self._ends: dict[str, dict[str, str]] = {}
        self.spans: dict[str, float] = {}
        self.forward = ""
        for way in WAYS:
            self.begin(way)
            start = time.perf_counter()
            WAYS[way](self.job)
            self.spans[way] = time.perf_counter() - start
            self._ends[way] = digests(self.job)
            if way in ("slim", "smallest") and "unslim" not in self._states and (self.job / NAME).exists():
                self.forward, self._states["unslim"] = way, scratch / "slimmed"
                disk.copy_folder(self.job, self._states["unslim"])
        self.before = digests(self._states[""])

    def begin(self, way: str) -> None:
        """Put the directory into the state that a way starts from."""
        shutil.rmtree(self.job, ignore_errors=True)
        disk.copy_folder(self._states.get(way, self._states[""]), self.job)

    def lost(self) -> list[str]:
        """Name the original files that cannot be read with the same bytes, nor from what minimal made of them."""
        return [name for name, digest in self.before.items() if not _readable(self.job, name, digest)]

    def resume(self, way: str, tally: KillTally) -> None:
        """Run a way to its end, and hold what it leaves against an undisturbed run."""
        if way == "unslim" and not (self.job / NAME).exists():
            way = self.forward  # it was killed after its last step, or had nothing to undo
        try:
            problems = [str(problem) for problem in getattr(WAYS[way](self.job), "problems", ())]
        except HarnessError as error:
            problems = [str(error)]
        if not problems and digests(self.job) != self._ends[way]:
            problems = ["the directory is not what an undisturbed run leaves"]
        tally.problems += [f"{way}: {problem}" for problem in problems]
        tally.resumed += not problems


def _readable(folder: Path, name: str, digest: str) -> bool:
    try:
        found = read_file(folder, name)
    except HarnessError:
        return False
    return digest in (disk.digest(found.data), found.original)


def kill_at_random(case: KillCase, kills: int, chance: random.Random) -> KillTally:
    """Kill slim and unslim at moments drawn from their duration; each starts from what the last kill left.

    Parameters
    ----------
    case : KillCase
        The directory.
    kills : int
        How many times; a process that ends before its moment is not counted, and after three times as many tries it
        is enough.
    chance : random.Random
        Where moments come from.

    Returns
    -------
    KillTally
        What it did.
    """
    tally = KillTally()
    case.begin(case.forward)
    for _ in range(3 * kills):
        if tally.kills == kills:
            break
        way = "unslim" if (case.job / NAME).exists() and chance.random() < 0.5 else case.forward
        pid = _forked(partial(WAYS[way], case.job))
        time.sleep(case.spans[way] * chance.random())
        os.kill(pid, signal.SIGKILL)
        tally.kills += _was_killed(pid)
        tally.problems += [f"{way}: {name} is lost" for name in case.lost()]
        if chance.random() < 0.5:
            case.resume(way, tally)
    return tally


def kill_before_each_step(case: KillCase, way: str) -> KillTally:
    """Kill a way before its first change of the disk, before its second, and so on until it has no more.

    Parameters
    ----------
    case : KillCase
        The directory.
    way : {"slim", "smallest", "minimal", "unslim"}
        What is killed.

    Returns
    -------
    KillTally
        What it did; it has one kill for each step.
    """
    tally = KillTally()
    for stop in itertools.count(1):
        case.begin(way)
        pid = _forked(partial(_work_until, stop, way, case.job))
        killed = _was_killed(pid)
        tally.problems += [f"{way}, step {stop}: {name} is lost" for name in case.lost()]
        if not killed:
            return tally
        tally.kills += 1
        case.resume(way, tally)
    raise AssertionError("an endless count ended")


def _forked(work: Callable[[], object]) -> int:
    """Do work in a process of its own; forked, so that its moments are not all spent in importing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def _was_killed(pid: int) -> bool:
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise HarnessError("the process that was to be killed failed by itself; its traceback stands above")
    return os.WIFSIGNALED(status)


def _work_until(stop: int, way: str, folder: Path) -> None:
    """Run a way in this process, which is killed before its change number `stop` of the disk.

    Half a file written counts as a change of its own.
    """
    left, root = [stop], os.fspath(folder)

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        place = arguments[0] if arguments else ""
        here = isinstance(place, int) or (isinstance(place, str) and place.startswith(root))
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if here and (event in _STEPS or writes):
            step()

    fill = disk._fill

    def torn(handle: BinaryIO, data: bytes) -> None:
        fill(handle, data[: len(data) // 2])
        handle.flush()
        step()
        fill(handle, data[len(data) // 2 :])

    sys.addaudithook(audit)  # it stays for as long as this process lives
    with mock.patch.object(disk, "_fill", torn):
        WAYS[way](folder)


def main(kills: int = 10) -> int:
    """Kill on every directory and print the counts; return the exit code."""
    total = KillTally()
    with tempfile.TemporaryDirectory(prefix="harness-kills-") as name:
        made = [make(Path(name) / make.__name__) for make in (af2, af3, openfold3)]
        for number, source in enumerate((*made, *real())):
            case = KillCase(source, Path(name) / f"case-{number}")
            tallies = {"at random moments": kill_at_random(case, kills, random.Random(number))}
            tallies |= {f"before each step of {way}": kill_before_each_step(case, way) for way in WAYS}
            for when, tally in tallies.items():
                told = f"{tally.kills} kills, {tally.resumed} resumed, {len(tally.problems)} problems"
                print(f"{source.name}, {when}: {told}", *tally.problems[:5], sep="\n  ")
                total.kills, total.resumed = total.kills + tally.kills, total.resumed + tally.resumed
                total.problems += tally.problems
    print(
        f"kills of slim and unslim: {total.kills}, {total.resumed} resumed, {len(total.problems)} lost or not resumed"
    )
    return 1 if total.problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill slimming and its undoing, and count what is lost.")
    parser.add_argument("kills", type=int, nargs="?", default=10, metavar="N", help="on each directory (default: 10)")
    sys.exit(main(parser.parse_args().kills))
