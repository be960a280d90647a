"""Ctrl-C comes through only where it can leave nothing half done, and is never lost."""

import multiprocessing
import os
import signal
import time

import pytest

from harness.sampling import worker
from harness.sampling.interrupt import ENDING, deferred, ending_alike, exit_code, heard, kept_from_children
from harness.sampling.worker import Worker, WorkerError
from tests.tasks import Blocked, end_at_once

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _default_handler():
    """Tests that run in the background, or under nohup, inherit signals that are ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ending_alike():
        yield
    for number, handler in before.items():
        signal.signal(number, handler)


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def test_it_waits_for_a_block_that_hears_it():
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        press()
        steps.append("kept back")
        with heard():
            steps.append("not reached")
    assert steps == ["kept back"]


@pytest.mark.parametrize("number", ENDING)
def test_what_a_scheduler_sends_ends_alike_and_is_told_by_the_exit_code(number):
    with pytest.raises(KeyboardInterrupt) as kept_back, deferred():
        press(number)
        with heard():
            pass
    with pytest.raises(KeyboardInterrupt) as at_once:
        press(number)
        time.sleep(60)
    assert exit_code(kept_back.value) == exit_code(at_once.value) == 128 + number
    assert exit_code(KeyboardInterrupt()) == 130


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ending_alike(), deferred():
        press(signal.SIGHUP)
    assert signal.signal(signal.SIGHUP, signal.SIG_DFL) is signal.SIG_IGN


def test_a_worker_that_does_not_start_says_why(monkeypatch):
    monkeypatch.setattr(worker, "_serve", end_at_once)
    with (
        Worker(60) as one,
        pytest.raises(WorkerError, match=r"could not start \(it ended .*code 3\)\)") as error,
    ):
        one.do(Blocked())
    assert error.value.cause == "machine", "no format was loaded yet"


def test_it_is_not_lost_when_no_block_hears_it():
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        press()
        steps.append("finished")
    assert steps == ["finished"]
    with heard():
        steps.append("raised once")
    assert steps == ["finished", "raised once"]


def test_it_comes_at_once_inside_a_block_that_hears_it():
    with pytest.raises(KeyboardInterrupt), deferred(), heard():
        press()
        time.sleep(60)


def test_it_is_raised_once():
    with deferred():
        with pytest.raises(KeyboardInterrupt), heard():
            press()
        with heard():
            pass


def test_the_handler_is_put_back():
    with deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_worker_never_hears_it_and_one_pressed_while_it_starts_is_heard_after():
    with Worker(60) as one, deferred():
        assert one.do(Blocked()) is True
        one.stop()
        press()
        with pytest.raises(KeyboardInterrupt):
            one.do(Blocked())
        assert one.do(Blocked()) is True


def test_the_signal_mask_is_put_back():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with kept_from_children():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert not multiprocessing.active_children()
