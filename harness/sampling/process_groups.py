"""Process groups: stop, continue, and kill a process with all its descendants, and measure their memory.

Run as a script, this module waits until the process that started it ends for any reason, and then kills the processes
that it left behind.
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
"""Environment variable that marks a process's descendants, including those that left its group and their parent."""

_PROC = Path("/proc")
_PAUSE = 0.0002  # seconds between two checks of threads that are about to stop
_PR_SET_CHILD_SUBREAPER = 36
_GONE = (FileNotFoundError, ProcessLookupError)
_BORN = 19  # index of the start time of a process in the result of `_stat`
_MARKS: dict[tuple[int, str], str] = {}
_MOST_MARKS = 4096
_AT_REST = "TtZXx"  # states of proc_pid_stat(5): stopped, and those of threads that have ended


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a group, and all other descendants of its leader.

    The leader adopts orphans (`lead`), so all its descendants can be found while it lives. After its end, processes
    that left the group and cleared their environment are not found. Without Linux's ``/proc``, only the group itself
    gets signals.
    """

    leader: int  # Process ID of the leader of the group, or of a process that will become it.
    mark: str  # Value of `MARK` in its environment.

    def members(self) -> list[int]:
        """List the processes that are alive, even if the leader is not; checks all processes of this machine."""
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

        A listing may miss processes that are started during it. So the last listing begins when all known processes are
        stopped, and must find no others: then no process is left that could start one.

        Parameters
        ----------
        patience : float
            Time limit in seconds.

        Returns
        -------
        list of int or None
            The processes; None if they did not stop within the limit.
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
        """List the leader and its descendants by their parents; checks far fewer processes than `members`."""
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
        """Send a signal to the group, and to the processes in `found` outside of it; by default to all `members`."""
        found = self.members() if found is None else found
        self._signal_group(number)
        for pid in found:
            if _group_of(pid) != self.leader:
                _signal(pid, number)

    def held_bytes(self) -> int:
        """Return the bytes of anonymous and shared memory of the processes, without pages of files."""
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
    """Make this process the leader of a new group, and adopt its orphaned descendants; see prctl(2)."""
    os.setpgrp()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux only
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def thread_states(pid: int) -> str:
    """Return the state of each thread of a process, as letters of proc_pid_stat(5); empty if the process has ended."""
    states = []
    for thread in _threads(pid):
        with suppress(*_GONE):
            states.append(_stat(thread)[0])
    return "".join(states)


def _threads(pid: int) -> list[str]:
    """List the folders of a process's threads, as strings for speed, because a run needs them thousands of times."""
    folder = f"{_PROC}/{pid}/task"
    with suppress(*_GONE):
        return [f"{folder}/{thread}" for thread in os.listdir(folder)]  # noqa: PTH208
    return []


@cache
def _lists_children() -> bool:
    """Return whether the kernel lists the children of a thread, as most kernels are configured to."""
    return (_PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def _stat(folder: Path | str) -> list[str]:
    """Return the fields of proc_pid_stat(5) after the name of a process or thread: state, parent, group and more."""
    return _read(f"{folder}/stat").rpartition(b")")[2].decode().split()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _known_mark(pid: int, born: str) -> str:
    """Return the mark of a process; cached for speed, except if it is empty, as the process may just be starting."""
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
    """Return a mark for a new child of this process; all marked processes are killed after this process ends."""
    return f"{_guarded()}-{secrets.token_hex(4)}"


@cache
def _guarded() -> str:
    """Start the guard process, once, and return its prefix of marks.

    The guard outlives this process. It notices the end of this process by a pipe that only this process holds open.
    """
    ours, (theirs, _held) = secrets.token_hex(8), os.pipe()
    silent = [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
    actions = [(os.POSIX_SPAWN_DUP2, theirs, 0), *silent]
    command = [sys.executable, "-I", "-S", __file__, ours]
    os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    os.close(theirs)
    return ours


def kill_marked(mark: str) -> None:
    """Kill every process whose mark starts with `mark`, stopped or not, whether or not its group's leader is alive."""
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
