"""One process group a contender: at rest but for its turn, within its budget, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.capacity import capacity, processors
from harness.errors import UsageError
from harness.sampling import contenders, process_groups
from harness.sampling.contenders import ContenderProcesses
from harness.sampling.worker import Worker, WorkerError
from tests import tasks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/task").is_dir(), reason="the states of threads are read from Linux's /proc"
    ),
]


@pytest.fixture
def said(tmp_path, monkeypatch):
    monkeypatch.setenv(tasks.SAID, str(tmp_path / "said"))
    return tmp_path / "said"


def ticks(pid: int) -> int:
    """Return the processor time of a process so far, in clock ticks (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def alive(pids) -> list[int]:
    """Tell which processes run or could go on; those that only wait for their parent to note their end do not."""
    return [pid for pid in pids if process_groups.thread_states(pid).strip("ZX")]


def gone(pids) -> bool:
    """Wait for processes to end that were told to."""
    deadline = time.monotonic() + 20
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pids)


def numbers(file: Path, count: int = 3) -> list[int]:
    """Wait for a file that tells processes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if file.exists() and len(found := file.read_text().split()) == count:
            return [int(number) for number in found]
        time.sleep(0.01)
    raise AssertionError(f"{file} was not written")


def test_a_contender_that_spins_between_its_turns_is_stopped_with_all_it_started():
    with ContenderProcesses(60, None) as processes:
        spinning = processes.do("liar", tasks.Spin())
        before = [ticks(pid) for pid in spinning]
        for _ in range(2):
            processes.do("honest", tasks.Who())
            states = [process_groups.thread_states(pid) for pid in spinning]
            assert [set(each) for each in states] == [{"T"}] * 3
            assert len(states[0]) >= 2, "its main thread and the one that spins"
        assert [ticks(pid) for pid in spinning] == before, "no processor time is taken from the others"
        assert processes.do("liar", tasks.Who()) == spinning[0]
    assert gone(spinning)


def test_what_hides_from_its_group_its_parent_and_its_mark_is_stopped_too():
    with Worker(60) as worker:
        hidden = worker.do(tasks.Stray())
        assert os.getpgid(hidden) == hidden and process_groups.thread_states(hidden) == "T"
        worker.do(tasks.Who())
        assert process_groups.thread_states(hidden) == "T"
        worker.stop()
    assert gone([hidden])


def test_what_ignores_a_signal_to_end_ends_with_its_contender():
    with Worker(60) as worker:
        found = worker.do(tasks.Deaf())
        worker.close()
        assert gone(found)


def test_what_is_at_rest_when_its_leader_dies_ends_with_its_contender():
    with Worker(60) as worker:
        leader, started = worker.do(tasks.Deaf())
        assert process_groups.thread_states(started) == "T"
        os.kill(leader, signal.SIGKILL)
        assert gone([leader])
        worker.do(tasks.Who())
        assert gone([started])


def test_each_contender_keeps_its_process_and_at_most_so_many_live():
    with ContenderProcesses(60, None, most=2) as processes:
        first = {key: processes.do(key, tasks.Who()) for key in "abc"}
        assert len(set(first.values())) == 3 and alive(first.values()) == [first["b"], first["c"]]
        assert processes.do("b", tasks.Who()) == first["b"]
        assert processes.do("a", tasks.Who()) != first["a"] and alive(first.values()) == [first["b"]]
    assert gone(first.values())


def test_a_process_that_is_new_takes_a_discarded_sample_before():
    with ContenderProcesses(60, None, most=1) as processes:
        one = [processes.do("a", tasks.Sample()) for _ in range(2)]
        processes.do("b", tasks.Who())
        anew = processes.do("a", tasks.Sample())
    assert one[0] == one[1] and {count for _, count in (*one, anew)} == {1} and anew[0] != one[0][0]


def test_those_that_begin_together_are_at_rest_and_still_take_a_discarded_sample(said):
    with ContenderProcesses(60, None) as processes:
        first = processes.do("a", tasks.Who())
        processes.begin({key: tasks.Who() for key in "abc"} | {"gone": tasks.Die()})
        assert gone(numbers(said))
        workers = {key: processes._workers[key] for key in "bc"}
        pids = {key: worker._process.pid for key, worker in workers.items()}
        assert [set(process_groups.thread_states(pid)) for pid in pids.values()] == [{"T"}] * 2
        samples = {key: processes.do(key, tasks.Sample()) for key in "bc"}
        assert samples == {key: (pid, 1) for key, pid in pids.items()}
        assert processes.do("a", tasks.Who()) == first, "which had a process"
        assert alive([processes.do("gone", tasks.Who())]), "what failed at its start begins anew for its turn"
    assert gone([first, *pids.values()])


def test_those_that_begin_together_are_at_most_so_many():
    with ContenderProcesses(60, None, most=2) as processes:
        processes.begin({key: tasks.Who() for key in "abcd"})
        assert [key for key, worker in processes._workers.items() if worker.running] == ["a", "b"]


def test_one_that_is_ended_starts_anew():
    with ContenderProcesses(60, None) as processes:
        first = {key: processes.do(key, tasks.Who()) for key in "ab"}
        processes.end(["a", "never started"])
        assert gone([first["a"]]) and alive([first["b"]])
        assert processes.do("a", tasks.Who()) != first["a"] and processes.do("b", tasks.Who()) == first["b"]


@pytest.mark.parametrize("task", [tasks.Who(), tasks.CannotRead()])
def test_every_worker_is_at_rest_between_its_tasks(task):
    """Also the one that writes archives, and has all formats loaded."""
    with Worker(60) as worker:
        pid = worker.do(tasks.Who())
        with suppress(WorkerError):
            worker.do(task)
        assert set(process_groups.thread_states(pid)) == {"T"}
        assert worker.do(tasks.Who()) == pid
    assert gone([pid])


def test_as_many_live_as_memory_allows(monkeypatch):
    monkeypatch.setattr(contenders, "capacity", lambda: SimpleNamespace(memory_usable_bytes=2 << 30, cores_usable=2))
    with ContenderProcesses(60, None) as processes:
        first = [processes.do(key, tasks.Hold(200 << 20)) for key in range(3)]
        assert alive(first) == first[1:], "two hold 400 MiB; with a third it would be more than a quarter"


def test_what_cannot_be_stopped_is_shared_and_ends_before_the_next_turn():
    with ContenderProcesses(60, None) as processes:
        one, other = (processes.do(key, tasks.Unpausable()) for key in "ab")
        assert one == other
        assert processes.do("a", tasks.Who()) != one and not alive([one])


@pytest.mark.parametrize(("task", "says"), [(tasks.Hang(), "hung"), (tasks.Die(), "exit code 3")])
def test_nothing_stays_of_a_contender_that_hangs_or_dies(said, task, says):
    with ContenderProcesses(10, None) as processes:
        resting = processes.do("honest", tasks.Who())
        with pytest.raises(WorkerError, match=says):
            processes.do("liar", task)
        assert gone(numbers(said))
        assert processes.do("honest", tasks.Who()) == resting
    assert gone([resting])


def test_a_reader_that_cannot_read_an_archive_says_so_by_a_field():
    with Worker(60) as worker:
        with pytest.raises(WorkerError, match=r"^it lacks a codec$") as error:
            worker.do(tasks.CannotRead())
        assert error.value.unsupported and error.value.cause == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_stays_of_a_run_that_is_killed_or_interrupted(tmp_path, said, number):
    code = f"import tests.tasks as t; t.contend({str(tmp_path)!r})"
    run = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        rested, turn = numbers(tmp_path / "rested"), numbers(said)
        assert alive(rested + turn) == rested + turn
        run.send_signal(number)
        run.wait(60)
        assert gone(rested + turn)
    finally:
        run.kill()
        for pid in alive([*rested, *turn]):
            os.kill(pid, signal.SIGKILL)


def test_a_budget_holds_before_anything_is_imported_and_reaches_libraries():
    before = os.sched_getaffinity(0), {name: os.environ.get(name) for name in tasks.VARIABLES}
    with Worker(60, threads=1) as worker:
        allowed, cores, told = worker.do(tasks.Budget())
    assert allowed == {min(os.sched_getaffinity(0))} and cores == 1
    assert set(told.values()) == {"1"}
    assert before == (os.sched_getaffinity(0), {name: os.environ.get(name) for name in tasks.VARIABLES})


@pytest.mark.parametrize("threads", [0, 10_000])
def test_a_budget_that_cannot_be_had_is_refused_in_one_sentence(threads):
    with pytest.raises(UsageError, match=rf"budget of {threads} threads .* Ask for 1 to \d+\.$"):
        ContenderProcesses(60, threads)
    assert len(processors(capacity().cores_usable)) == capacity().cores_usable
