"""A process and all that it started: stopped while others have their turn, continued, ended, and what they hold.

Run as a script, it waits for the process that started it to end in whatever way, and then ends what that one has left.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MARK = "HARNESS_PROCESS_GROUP"
"""An environment variable by which what a process starts is found, also where it has left its group and its parent."""

_PROC = Path("/proc")
_PAUSE = 0.0002  # seconds between two looks at threads that are about to stop
_PR_SET_CHILD_SUBREAPER = 36
_GONE = (FileNotFoundError, ProcessLookupError)
_BORN = 19  # the place of the time when a process began, among what `_stat` returns
_MARKS: dict[tuple[int, str], str] = {}
_MOST_MARKS = 4096
_AT_REST = "TtZXx"  # states of proc_pid_stat(5): stopped, and those of threads that have ended


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a group and whatever else its leader started, directly or not.

    The leader adopts what loses its parent (`lead`), so all that it started hangs together while it lives. When it has
    ended, what has left the group and cleared its environment is not found. Without Linux's ``/proc`` only the group
    itself gets signals.
    """

    leader: int  # The process that leads the group, or is about to.
    mark: str  # What it was started with as `MARK`.

    def members(self) -> list[int]:
        """List the processes that are alive, also when the leader is not: all that run here are looked at."""
        table = {}
        for entry in _PROC.iterdir() if _PROC.is_dir() else ():
            with suppress(*_GONE):
                if entry.name.isdigit() and (fields := _stat(entry))[0] not in "ZX":
                    table[int(entry.name)] = fields
        found = {pid for pid, (_, _, group, *_) in table.items() if self.leader in (pid, int(group))}
        born = min((int(table[pid][_BORN]) for pid in found), default=0)
        for pid in table.keys() - found:
            with suppress(*_GONE):
                if int(table[pid][_BORN]) >= born and _known_mark(pid, table[pid][_BORN]) == self.mark:
                    found.add(pid)
        while more := {pid for pid, (_, parent, *_) in table.items() if int(parent) in found} - found:
            found |= more
        return sorted(found)

    def stop(self, patience: float) -> list[int] | None:
        """Stop every thread of every process, and wait until they are stopped.

        What is started while others are looked at may be missed. So the last look begins when all are at rest, and
        finds no other: then nothing is left that could start one.

        Returns
        -------
        list of int or None
            The processes; None where they did not stop within so many seconds.
        """
        self._signal_group(signal.SIGSTOP)
        deadline = time.monotonic() + patience
        rested: list[int] = []
        while True:
            found = self._descent()
            running = [pid for pid in found if thread_states(pid).strip(_AT_REST)]
            if not running and found == rested:
                return found
            if time.monotonic() > deadline:
                return None
            rested = [] if running else found
            for pid in running:
                _signal(pid, signal.SIGSTOP)
            if running:
                time.sleep(_PAUSE)

    def _descent(self) -> list[int]:
        """List the leader, its children, theirs, and so on: far fewer than `members` has to look at."""
        if not _lists_children():
            return self.members()
        found: list[int] = []
        rest = [self.leader]
        while rest:
            found.append(rest.pop())
            for thread in _threads(found[-1]):
                with suppress(*_GONE):
                    rest += map(int, _read(f"{thread}/children").split())
        return sorted(found)

    def signal(self, number: int, found: Sequence[int] | None = None) -> None:
        """Send a signal to every process, or to those that are given."""
        found = self.members() if found is None else found
        self._signal_group(number)
        for pid in found:
            if _group_of(pid) != self.leader:
                _signal(pid, number)

    def held_bytes(self) -> int:
        """Return the memory that the processes hold for themselves, without pages of files."""
        total = 0
        for pid in self._descent():
            with suppress(*_GONE):
                lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
                held = (line.split()[1] for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
                total += 1024 * sum(map(int, held))
        return total

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, number)


def lead() -> None:
    """Make this process lead a group of its own, and adopt what its descendants leave behind; see prctl(2)."""
    os.setpgrp()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def thread_states(pid: int) -> str:
    """Return a letter for each thread of a process, as proc_pid_stat(5) has them; empty when it is gone."""
    states = []
    for thread in _threads(pid):
        with suppress(*_GONE):
            states.append(_stat(thread)[0])
    return "".join(states)


def _threads(pid: int) -> list[str]:
    """List the folders of the threads of a process; texts, for a run asks thousands of times."""
    folder = f"{_PROC}/{pid}/task"
    with suppress(*_GONE):
        return [f"{folder}/{thread}" for thread in os.listdir(folder)]  # noqa: PTH208
    return []


@cache
def _lists_children() -> bool:
    """Say whether the kernel tells the children of a thread, as most are built to."""
    return (_PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def _stat(folder: Path | str) -> list[str]:
    """Return what proc_pid_stat(5) says after the name of a process or thread: its state, parent, group and more."""
    return _read(f"{folder}/stat").rpartition(b")")[2].decode().split()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _known_mark(pid: int, born: str) -> str:
    """Return the mark of a process; remembered, for each turn asks, unless it has none: it may just be starting."""
    if (pid, born) not in _MARKS:
        found = _mark_of(_PROC / str(pid))
        if not found:
            return ""
        if len(_MARKS) >= _MOST_MARKS:
            _MARKS.clear()
        _MARKS[pid, born] = found
    return _MARKS[pid, born]


def _mark_of(folder: Path) -> str:
    with suppress(PermissionError):  # another user's
        for line in (folder / "environ").read_bytes().split(b"\0"):
            if line.startswith(f"{MARK}=".encode()):
                return line.partition(b"=")[2].decode(errors="replace")
    return ""


def new_mark() -> str:
    """Return a mark for what this process starts; all that bears one is ended when this process has ended."""
    return f"{_guarded()}-{secrets.token_hex(4)}"


@cache
def _guarded() -> str:
    """Start what outlives this process, once; it is told of the end by a pipe that only this process holds."""
    ours, (theirs, _held) = secrets.token_hex(8), os.pipe()
    silent = [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
    actions = [(os.POSIX_SPAWN_DUP2, theirs, 0), *silent]
    command = [sys.executable, "-I", "-S", __file__, ours]
    os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    os.close(theirs)
    return ours


def kill_marked(mark: str) -> None:
    """Kill every process whose mark begins so, stopped or not, and whether or not the leader of its group is alive."""
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        with suppress(*_GONE):
            if entry.name.isdigit() and _mark_of(entry).startswith(mark):
                _signal(int(entry.name), signal.SIGKILL)


def _guard(ours: str) -> None:
    os.read(0, 1)
    kill_marked(f"{ours}-")


def _group_of(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    _guard(sys.argv[1])
