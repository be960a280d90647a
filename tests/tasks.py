"""Tasks for workers, in a module that a worker process can import by this name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.capacity import capacity
from harness.formats.settings import UnsupportedReader
from harness.sampling.budget import VARIABLES
from harness.sampling.contenders import ContenderProcesses


class Blocked:
    """Tells whether the worker would hear Ctrl-C."""

    def run(self, children: object) -> bool:
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def end_at_once(*_: object) -> None:
    """Stands for a worker that does not get to its first task."""
    os._exit(3)


class Turn:
    """What a contender does in a test."""

    pausable = True


class Budget(Turn):
    """Tells which processors the worker may use, as seen by what was imported first, and what libraries are told."""

    def run(self, children: object) -> tuple[set[int], int, dict[str, str]]:
        return os.sched_getaffinity(0), capacity().cores_usable, {name: os.environ.get(name, "") for name in VARIABLES}


class Spin(Turn):
    """Leaves threads that spin here, in a child and in a child that leads a session of its own; tells all three."""

    def run(self, children: object) -> tuple[int, int, int]:
        threading.Thread(target=_spin, daemon=True).start()
        code = "import threading, tests.tasks as t; threading.Thread(target=t._spin).start(); t._spin()"
        started = [subprocess.Popen([sys.executable, "-c", code], start_new_session=apart) for apart in (False, True)]
        return os.getpid(), started[0].pid, started[1].pid


class Stray(Turn):
    """Leaves a process that spins in a session of its own, without a parent and with an empty environment; tells it."""

    def run(self, children: object) -> int:
        spin = "import os; print(os.getpid(), flush=True)\nwhile True: pass"
        started = f"subprocess.Popen([{sys.executable!r}, '-c', {spin!r}], start_new_session=True, env={{}})"
        code = f"import subprocess; {started}"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as between:
            assert between.stdout is not None
            return int(between.stdout.readline())


class Deaf(Turn):
    """Leaves a process in a session of its own that ignores SIGTERM; tells the worker's process and that one."""

    def run(self, children: object) -> tuple[int, int]:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
        started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        assert started.stdout is not None
        started.stdout.readline()
        return os.getpid(), started.pid


def _spin() -> None:
    while True:
        pass


class Who(Turn):
    """Tells the worker's process."""

    def run(self, children: object) -> int:
        return os.getpid()


class First:
    """Comes before the first sample of a process that is new."""

    done: ClassVar[int] = 0

    def run(self, children: object) -> None:
        First.done += 1


class Sample(Turn):
    """Tells the worker's process, and how often something came first there."""

    discarded = First()

    def run(self, children: object) -> tuple[int, int]:
        return os.getpid(), First.done


class Unpausable(Who):
    """Tells the process that is shared by what cannot be stopped."""

    pausable = False


@dataclass
class Hold(Who):
    """Takes memory and keeps it."""

    nbytes: int
    kept: ClassVar[list[bytes]] = []

    def run(self, children: object) -> int:
        self.kept.append(b"x" * self.nbytes)
        return super().run(children)


class Hang(Spin):
    """Never answers."""

    def run(self, children: object) -> tuple[int, int, int]:
        Path(os.environ[SAID]).write_text(" ".join(map(str, super().run(children))))
        _spin()
        raise AssertionError


class Die(Spin):
    """Ends without an answer, and leaves its children behind."""

    def run(self, children: object) -> tuple[int, int, int]:
        Path(os.environ[SAID]).write_text(" ".join(map(str, super().run(children))))
        os._exit(3)


class CannotRead(Turn):
    """Meets an archive that its reader cannot read."""

    def run(self, children: object) -> None:
        raise UnsupportedReader("it lacks a codec.")


SAID = "HARNESS_TEST_SAID"
"""Names the file where a task that does not answer says which processes there are."""


def contend(folder: str) -> None:
    """Stand for a run that is killed: one contender has had its turn, one has it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what runs in the background
    with ContenderProcesses(60, None) as processes:
        Path(folder, "rested").write_text(" ".join(map(str, processes.do("rested", Spin()))))
        processes.do("turn", Hang())
