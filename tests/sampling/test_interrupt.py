"""Ctrl-C comes through only where it can leave nothing half done, and is never lost."""

import multiprocessing
import os
import signal
import time

import pytest
from tasks import Blocked

from harness.sampling.interrupt import deferred, heard, kept_from_children
from harness.sampling.worker import Worker


@pytest.fixture(autouse=True)
def _default_handler():
    """Tests that run in the background inherit an ignored SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_it_waits_for_a_block_that_hears_it():
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        press()
        steps.append("kept back")
        with heard():
            steps.append("not reached")
    assert steps == ["kept back"]


def test_it_is_not_lost_when_no_block_hears_it():
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred():
        press()
        steps.append("finished")
    assert steps == ["finished"]


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
    with Worker(60) as worker, deferred():
        assert worker.do(Blocked()) is True
        worker.stop()
        press()
        with pytest.raises(KeyboardInterrupt):
            worker.do(Blocked())
        assert worker.do(Blocked()) is True


def test_the_signal_mask_is_put_back():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with kept_from_children():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert not multiprocessing.active_children()
