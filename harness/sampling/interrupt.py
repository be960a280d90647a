"""Signal handling: defer Ctrl-C and similar signals until a wait for a worker, so that no operation is cut short."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end: from Ctrl-C, from a scheduler or ``kill``, from a closed terminal."""

_PR_SET_PDEATHSIG = 1


class _State:
    pending: int | None = None
    heard = False


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a process that ends with this error: 128 plus the signal number."""
    return 128 + int(error.args[0] if error.args else signal.SIGINT)


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Raise `KeyboardInterrupt`, as Ctrl-C does; handler of the signals in `ENDING` outside of `deferred`.

    Raises
    ------
    KeyboardInterrupt
        With the signal number.
    """
    raise KeyboardInterrupt(number)


def _keep(number: int, frame: FrameType | None) -> None:
    if _State.heard:
        raise KeyboardInterrupt(number)
    _State.pending = number


@contextmanager
def ending_alike() -> Iterator[None]:
    """Handle all signals in `ENDING` like Ctrl-C, except ignored signals, such as under ``nohup``."""
    with _handled(interrupt, only_default=True):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *, only_default: bool = False) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread sets handlers and gets signals
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, was in before.items():
        if was is not signal.SIG_IGN and (not only_default or was is signal.SIG_DFL):
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


@contextmanager
def deferred() -> Iterator[None]:
    """Defer the signals in `ENDING` until a `heard` block, or until this block ends.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, if a signal arrived and no `heard` block raised it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.pending, _State.heard = None, False
    with _handled(_keep):
        yield
    if _State.pending is not None:
        number, _State.pending = _State.pending, None  # raise it only once
        raise KeyboardInterrupt(number)


@contextmanager
def heard() -> Iterator[None]:
    """Let signals interrupt this block, including one that was deferred before.

    Raises
    ------
    KeyboardInterrupt
        When a signal of `ENDING` arrives, or was deferred.
    """
    _State.heard = True
    try:
        if _State.pending is not None:
            number, _State.pending = _State.pending, None
            raise KeyboardInterrupt(number)
        yield
    finally:
        _State.heard = False


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Block Ctrl-C in processes that are started in this block: children inherit blocked signals."""
    resource_tracker.ensure_running()  # because its first start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent process ends for any reason; exit if it has ended already."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux only; elsewhere an idle worker ends by itself
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
