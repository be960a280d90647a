"""Run a command of a build so that Ctrl-C ends it with everything it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from harness.sampling.interrupt import deferred, heard

_GRACE = 5.0  # seconds for an installer to tidy up


def output(command: Sequence[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a command, and end it with all that it started when Ctrl-C comes.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; it has nothing to read.
    environment : dict of str to str
        Its variables.

    Returns
    -------
    int
        Its exit code.
    str, str
        What it said on standard output and on standard error.

    Raises
    ------
    OSError
        When it cannot be started.
    KeyboardInterrupt
        When Ctrl-C came; nothing of it runs any more.
    """
    with deferred():
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # an installer starts others, which go with its group
        )
        try:
            with heard():
                out, err = process.communicate()
        except BaseException:
            _end(process)
            raise
    return process.returncode, out, err


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with its group, which an installer that hears Ctrl-C leaves tidied up."""
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
